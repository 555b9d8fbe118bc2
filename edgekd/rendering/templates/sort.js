// The headers of a table sort it. Without this, rows keep the order of interest that they came in.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const name = head.firstChild ? head.firstChild.textContent.trim() : "";
    if (!name) return;
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Sort by ${name}`);
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      const key = row => row.cells[column].dataset.sort;
      const word = row => row.cells[column].textContent.trim();
      const order = (a, b) => key(a) && key(b) ? key(a) - key(b) : word(a).localeCompare(word(b), "en", {numeric: true});
      const rows = [...table.tBodies[0].rows];
      const without = rows.filter(row => !word(row) || row.cells[column].querySelector(".missing"));
      const known = rows.filter(row => !without.includes(row)).sort((a, b) => rising ? order(a, b) : order(b, a));
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      table.tBodies[0].append(...known, ...without);
    });
    head.insertBefore(button, head.querySelector("small"));
  });
}
