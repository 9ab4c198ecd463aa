// Making elements. Whatever comes from others becomes text, never markup.

export const $ = (id) => document.getElementById(id);

/** An element: `words` becomes its text, `facts` its properties; `data-…` and `aria-…` its attributes. */
export function make(tag, facts = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (name === "words") element.textContent = value;
    else if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Have `list` show `items` in order. Rows are kept by key, not made anew: nothing vanishes under a finger. */
export function showRows(list, items, keyOf, makeRow, fill) {
  const rows = new Map([...list.children].map((row) => [row.dataset.key, row]));
  items.forEach((item, place) => {
    const key = String(keyOf(item));
    const row = rows.get(key) ?? makeRow(item);
    row.dataset.key = key;
    rows.delete(key);
    fill(row, item);
    if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
  });
  for (const row of rows.values()) row.remove();
}
