// A saved copy: moments in the reader's zone, and the quoted words in view.
import { said, utc } from "./times.js";

for (const node of document.querySelectorAll("time")) {
  const date = new Date(node.dateTime);
  node.title = utc(date);
  node.textContent = said(date);
}
document.getElementById("quote")?.scrollIntoView({ block: "center" });
