// The site works without this file. It keeps one recording playing at a time and searches while you type.
document.addEventListener("play", (event) => {
  for (const audio of document.querySelectorAll("audio")) {
    if (audio !== event.target) audio.pause();
  }
}, true);

const form = document.querySelector("form[data-fragment]");
if (form) {
  const results = document.getElementById("results");
  let waiting;
  let current;
  form.q.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      current?.abort();
      current = new AbortController();
      const query = new URLSearchParams({ q: form.q.value });
      try {
        const answer = await fetch(`${form.dataset.fragment}?${query}`, {
          headers: { "HX-Request": "true", "X-Requested-With": "XMLHttpRequest" },
          signal: current.signal,
        });
        if (!answer.ok) return;
        results.innerHTML = await answer.text();
        history.replaceState(null, "", `?${query}`);
      } catch (error) {
        if (error.name !== "AbortError") throw error;
      }
    }, 150);
  });
}
