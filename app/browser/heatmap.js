// Outline the area of a photo that mattered most, so that the bird's colours stay visible.

import { createSvg } from "./dom.js";

const EVIDENCE = 0.5; // proportion of the map's total that the outlined area carries
const RESOLUTION = 8; // grid points per cell of the map

// Return an outline to be laid over the square that the model used.
export function heatmapView(heatmap) {
  const d = outlinePath(heatmap);
  const attributes = { class: "heatmap", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" };
  return createSvg("svg", attributes, createSvg("path", { class: "casing", d }), createSvg("path", { class: "line", d }));
}

// Return the SVG path around the smallest area that carries EVIDENCE of the map, on a unit square.
export function outlinePath({ width, height, values }) {
  const columns = width * RESOLUTION;
  const rows = height * RESOLUTION;
  const grid = interpolate(values, width, height, columns, rows);
  const level = evidenceLevel(grid, EVIDENCE);
  if (!level) return "";
  const onUnitSquare = ([x, y]) => `${((x + 0.5) / columns).toFixed(4)} ${((y + 0.5) / rows).toFixed(4)}`;
  const loops = contours(grid, columns, rows, level);
  return loops.map((loop) => `M${loop.map(onUnitSquare).join("L")}Z`).join("");
}

// Return the value that the smallest area with `proportion` of the total has everywhere; 0 if empty.
export function evidenceLevel(values, proportion) {
  const sorted = [...values].sort((a, b) => b - a);
  const total = sorted.reduce((sum, value) => sum + value, 0);
  let sum = 0;
  return sorted.find((value) => (sum += value) >= proportion * total) || 0;
}

// Enlarge a map bilinearly; like pixels, its values lie at the centres of its cells.
export function interpolate(values, width, height, columns, rows) {
  const grid = [];
  for (let row = 0; row < rows; row += 1) {
    const [top, bottom, down] = neighbours(row, rows, height);
    for (let column = 0; column < columns; column += 1) {
      const [left, right, along] = neighbours(column, columns, width);
      const mix = (line) => values[line * width + left] * (1 - along) + values[line * width + right] * along;
      grid.push(mix(top) * (1 - down) + mix(bottom) * down);
    }
  }
  return grid;
}

function neighbours(index, count, size) {
  const place = Math.min(Math.max(((index + 0.5) * size) / count - 0.5, 0), size - 1);
  const before = Math.floor(place);
  return [before, Math.min(before + 1, size - 1), place - before];
}

// Return the closed loops around the values of at least `level`, by marching squares; points are
// [x, y] in grid points. A loop around a value at the border passes just outside the grid.
export function contours(grid, columns, rows, level) {
  const valueAt = ([x, y]) => (x < 0 || y < 0 || x >= columns || y >= rows ? 0 : grid[y * columns + x]);
  const isInside = (corner) => valueAt(corner) >= level;
  const segments = new Map(); // by the grid edge where they begin
  for (let y = -1; y < rows; y += 1) {
    for (let x = -1; x < columns; x += 1) {
      const corners = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]];
      const edges = corners.map((corner, index) => [corner, corners[(index + 1) % 4]]);
      // Seen from the next cell, an edge that is entered here is left: so segments join.
      const left = edges.filter(([from, to]) => isInside(from) && !isInside(to));
      const entered = edges.filter(([from, to]) => !isInside(from) && isInside(to));
      left.forEach(([inside, outside], index) => {
        segments.set(String([outside, inside]), { inside, outside, end: String(entered[index]) });
      });
    }
  }
  const loops = [];
  while (segments.size) loops.push(takeLoop(segments, valueAt, level));
  return loops;
}

// Remove one loop from the segments and return its points.
function takeLoop(segments, valueAt, level) {
  const points = [];
  for (let [edge] = segments.keys(); segments.has(edge); ) {
    const { inside, outside, end } = segments.get(edge);
    segments.delete(edge);
    const share = (level - valueAt(outside)) / (valueAt(inside) - valueAt(outside));
    points.push(outside.map((place, axis) => place + share * (inside[axis] - place)));
    edge = end;
  }
  return points;
}
