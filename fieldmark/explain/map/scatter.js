// Runs in the page once the plot is there. `source`, `plot` and `legends` come from scatter.py.
const find = (id) => document.getElementById(id);
const pale = "#ccc"; // what is not highlighted
let highlighted = null; // a column of the source and its value

function update() {
  const data = source.data;
  const projection = find("projection").value;
  const colouring = find("colouring").value;
  const items = legends[colouring].flatMap((group) => group.items);
  const colours = new Map(items.map((item) => [item.name, item.colour]));
  const shows = (row) => !highlighted || data[highlighted.column][row] === highlighted.value;
  source.data = {
    ...data,
    x: data[`${projection} x`],
    y: data[`${projection} y`],
    colour: data[colouring].map((value, row) => (shows(row) ? colours.get(value) : pale)),
    alpha: data.species.map((_, row) => (shows(row) ? 0.8 : 0.2)),
  };
}

function makeButton(column, value, colour, count) {
  const button = document.createElement("button");
  const pressed = highlighted && highlighted.column === column && highlighted.value === value;
  button.type = "button";
  button.setAttribute("aria-pressed", String(Boolean(pressed)));
  if (colour) {
    const dot = document.createElement("i");
    dot.style.background = colour;
    button.append(dot, " ");
  }
  button.append(count === undefined ? value : `${value} (${count})`);
  button.addEventListener("click", () => {
    highlighted = pressed ? null : { column, value };
    showLegend();
    update();
  });
  return button;
}

function showLegend() {
  const colouring = find("colouring").value;
  const parts = legends[colouring].flatMap(({ title, items }) => {
    const list = document.createElement("ul");
    for (const { name, colour, n } of items) {
      const entry = document.createElement("li");
      entry.append(makeButton(colouring, name, colour, n));
      list.append(entry);
    }
    if (!title) return [list];
    const heading = document.createElement("h2");
    heading.append(makeButton("family", title));
    return [heading, list];
  });
  find("legend").replaceChildren(...parts);
}

function showChosen() {
  const [row] = source.selected.indices;
  if (row === undefined) return;
  const data = source.data;
  const photo = document.createElement("img");
  photo.src = data.thumbnail[row];
  photo.alt = "";
  const text = document.createElement("p");
  const name = document.createElement("b");
  name.append(data.species[row]);
  text.append(name, `, predicted: ${data.predicted[row]}, ${data.percent[row]} %; `);
  text.append(`${data.split[row]} photo`);
  find("chosen").replaceChildren(photo, text);
}

find("projection").addEventListener("change", () => {
  update();
  plot.reset.emit(); // the ranges follow the points again
});
find("colouring").addEventListener("change", () => {
  highlighted = null;
  showLegend();
  update();
});
source.selected.change.connect(showChosen);
showLegend();
update();
