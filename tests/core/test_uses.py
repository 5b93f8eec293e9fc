from noai_guard.core.uses import Notice, Use, training_uses


def test_a_notice_says_whose_it_is_if_the_site_says_so() -> None:
    assert Notice("All rights.\n\nAll.", "Society").attributed == "Society: All rights.\n\nAll."
    assert Notice("All rights.").attributed == "All rights."


def test_the_uses_that_train_generative_models_are_told_from_the_others() -> None:
    training = Use("voices", "Vendor", trains_generative_models=True)
    assert training_uses((Use("recommendation", "Label", trains_generative_models=False), training)) == (training,)
