// A saved copy: moments in the reader's zone, and the quoted words in view.
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

for (const node of document.querySelectorAll("time")) {
  const date = new Date(node.dateTime);
  node.title = `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
  const today = date.toDateString() === new Date().toDateString();
  node.textContent = today ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
}
const chosen = localStorage.getItem("gnomon.theme");
if (chosen) document.documentElement.dataset.theme = chosen;
document.getElementById("quote")?.scrollIntoView({ block: "center" });
