"""The record: what was promised since when (ledger), who came anyway (events), and what can be shown of it."""
