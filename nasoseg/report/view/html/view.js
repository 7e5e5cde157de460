// Shows one study with NiiVue: a CT, and structures packed into few label maps. Texts of the study are only ever set
// as text, never as HTML.

const find = (id) => document.getElementById(id);
const state = find("state");
const canvas = find("canvas");
const AXES = ["x", "y", "z"]; // to the patient's right, front and head
const KEYS = {
  ArrowLeft: [1, 0, 0], ArrowRight: [-1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0],
  PageUp: [0, 0, 1], PageDown: [0, 0, -1], Home: [0, 0, -1e6], End: [0, 0, 1e6],
};

let study, viewer;
let labels = []; // of every label map as loaded: {voxels, sides}
let voxel = [0, 0, 0]; // of the CT, under the cross
let waiting = false; // for the next frame, to draw the structures anew

main().catch((fault) => tell(`The study cannot be shown: ${fault.message}`));

async function main() {
  const answer = await fetch("study.json");
  if (!answer.ok) throw new Error("the server does not answer; was it ended?");
  study = await answer.json();
  document.title = `${study.title} - nasoseg view`;
  find("title").textContent = study.title;
  find("version").textContent = study.version;
  fillWindows();
  study.sets.forEach(addSet);
  AXES.forEach((axis, i) => { find(`slice-${axis}`).max = study.shape[i] - 1; });
  await load();
  listen();
  colour();
  draw();
  move(study.start);
  state.hidden = true;
}

function tell(text) {
  state.hidden = false;
  state.setAttribute("role", "alert");
  state.dataset.fault = "";
  state.textContent = text;
}

async function load() {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) throw new Error("this browser offers no WebGL 2. Another browser, or its hardware acceleration, may help.");
  const most = gl.getParameter(gl.MAX_3D_TEXTURE_SIZE);
  if (Math.max(...study.shape) > most) {
    throw new Error(`this graphics device takes ${most} voxels along a side, and the CT has ${study.shape.join(" x ")}.`);
  }
  takeKeys(); // before NiiVue does, whose own keys are others
  viewer = new niivue.Niivue({
    backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 1, 0.55], fontColor: [1, 1, 1, 1], crosshairWidth: 0.8,
    crosshairWidthUnit: "mm", isRadiologicalConvention: true, sagittalNoseLeft: true,
    dragMode: niivue.DRAG_MODE.slicer3D, dragAndDropEnabled: false, loadingText: "", showLegend: false,
    multiplanarShowRender: niivue.SHOW_RENDER.NEVER, sliceType: niivue.SLICE_TYPE.MULTIPLANAR,
    multiplanarPadPixels: 4, logLevel: "error",
  });
  await viewer.attachToCanvas(canvas);
  const { low, high } = study.windows[0];
  const maps = study.maps.map((map) => ({ url: map.file, opacity: 0 }));
  await viewer.loadVolumes([{ url: "ct.nii", colormap: "gray", cal_min: low, cal_max: high }, ...maps]);
  labels = viewer.volumes.slice(1).map((volume) => ({ voxels: volume.img, sides: volume.hdr.dims.slice(1, 4) }));
}

function listen() {
  viewer.onLocationChange = place;
  viewer.onIntensityChange = (volume) => showWindow(volume.cal_min, volume.cal_max);
  find("view").addEventListener("change", (event) => {
    viewer.setSliceType(Number(event.target.value));
    if (find("style").value === "outlines") redraw(); // in another plane
  });
  find("style").addEventListener("change", redraw);
  find("opacity").addEventListener("input", redraw);
  find("colour-by").addEventListener("change", () => { colour(); redraw(); });
  find("window").addEventListener("change", (event) => {
    const chosen = study.windows[event.target.selectedIndex];
    if (chosen) setWindow(chosen.low, chosen.high);
  });
  for (const id of ["low", "high"]) find(id).addEventListener("change", typedWindow);
  AXES.forEach((axis, i) => {
    find(`slice-${axis}`).addEventListener("input", (event) => move(voxel.with(i, Number(event.target.value))));
  });
}

// The window -----------------------------------------------------------------------------------------------------

function fillWindows() {
  for (const { name, low, high } of study.windows) find("window").append(new Option(`${name} (${low} to ${high})`));
  find("window").append(new Option("own"));
  showWindow(study.windows[0].low, study.windows[0].high);
}

function showWindow(low, high) {
  find("low").value = Math.round(low);
  find("high").value = Math.round(high);
  const known = study.windows.findIndex((one) => one.low === Math.round(low) && one.high === Math.round(high));
  find("window").selectedIndex = known < 0 ? study.windows.length : known;
}

function typedWindow() {
  const [low, high] = [find("low"), find("high")];
  const usable = low.value !== "" && high.value !== "" && low.valueAsNumber < high.valueAsNumber;
  for (const field of [low, high]) field.setCustomValidity(usable ? "" : "The first number must be below the second.");
  if (usable) setWindow(low.valueAsNumber, high.valueAsNumber);
  else high.reportValidity();
}

function setWindow(low, high) {
  const ct = viewer.volumes[0];
  [ct.cal_min, ct.cal_max] = [low, high];
  showWindow(low, high);
  for (const id of ["low", "high"]) find(id).setCustomValidity("");
  viewer.refreshLayers(ct, 0); // the structures stay as they are
  viewer.drawScene();
}

// The list of structures -----------------------------------------------------------------------------------------

function addSet(set) {
  const group = document.createElement("fieldset");
  const legend = document.createElement("legend");
  legend.textContent = set.name;
  const both = document.createElement("div");
  both.className = "both";
  for (const [text, on] of [["all", true], ["none", false]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", `${text} of ${set.name}`);
    button.addEventListener("click", () => {
      for (const structure of set.structures) if (structure.place) structure.box.checked = on;
      redraw();
    });
    both.append(button);
  }
  group.append(legend, both, ...set.structures.map(row));
  find("sets").append(group);
}

function row(structure) {
  const label = document.createElement("label");
  structure.box = document.createElement("input");
  structure.box.type = "checkbox";
  structure.box.checked = structure.place !== null;
  structure.box.disabled = structure.place === null;
  structure.box.addEventListener("change", redraw);
  structure.key = document.createElement("span");
  structure.key.className = "key";
  const name = document.createElement("span");
  name.textContent = structure.name;
  const volume = document.createElement("span");
  volume.className = "ml";
  volume.textContent = structure.place === null ? "empty" : `${structure.ml} ml`;
  label.append(structure.box, structure.key, name, volume);
  return label;
}

function colour() {
  const bySet = find("colour-by").value === "set";
  for (const set of study.sets) {
    for (const structure of set.structures) {
      structure.shown = bySet ? set.colour : structure.colour;
      structure.key.style.background = structure.shown;
    }
  }
}

// The picture ----------------------------------------------------------------------------------------------------

// Several changes before the next frame are drawn once.
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

function draw() {
  const outlined = find("style").value === "outlines";
  const plane = [[0, 1], [0, 2], [1, 2]][Number(find("view").value)] ?? [0, 1];
  study.maps.forEach((map, number) => {
    const volume = viewer.volumes[number + 1];
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0] };
    for (let label = 1; label <= map.labels; label += 1) {
      const structure = inMap(number, label);
      const parts = [1, 3, 5].map((at) => parseInt(structure.shown.slice(at, at + 2), 16));
      table.R.push(parts[0]);
      table.G.push(parts[1]);
      table.B.push(parts[2]);
      table.A.push(structure.box.checked ? 255 : 0);
      table.I.push(label);
    }
    volume.setColormapLabel(table);
    volume.img = outlined ? outlines(number, plane) : labels[number].voxels;
    volume.opacity = outlined ? 1 : Number(find("opacity").value) / 100;
  });
  find("opacity").disabled = outlined;
  viewer.updateGLVolume();
}

function inMap(map, label) {
  for (const set of study.sets) {
    for (const structure of set.structures) {
      if (structure.place && structure.place.map === map && structure.place.label === label) return structure;
    }
  }
  throw new Error(`nothing has label ${label} of map ${map}`);
}

// Keep the voxels of which a neighbour in the plane is not of the same structure.
function outlines(number, plane) {
  const { voxels, sides } = labels[number];
  const kept = labels[number].kept ??= {};
  if (kept[plane]) return kept[plane];
  const strides = [1, sides[0], sides[0] * sides[1]];
  const result = new Uint8Array(voxels.length);
  for (let i = 0; i < voxels.length; i += 1) {
    if (voxels[i] === 0) continue;
    for (const axis of plane) {
      const at = Math.floor(i / strides[axis]) % sides[axis];
      const inside = at > 0 && at < sides[axis] - 1
        && voxels[i - strides[axis]] === voxels[i] && voxels[i + strides[axis]] === voxels[i];
      if (!inside) {
        result[i] = voxels[i];
        break;
      }
    }
  }
  kept[plane] = result;
  return result;
}

// The cross ------------------------------------------------------------------------------------------------------

function takeKeys() {
  canvas.addEventListener("keydown", (event) => {
    event.stopImmediatePropagation();
    if (!(event.key in KEYS) || !viewer?.volumes.length) return;
    event.preventDefault();
    move(voxel.map((at, i) => at + KEYS[event.key][i]));
  });
  for (const kind of ["keyup", "dblclick"]) canvas.addEventListener(kind, (event) => event.stopImmediatePropagation());
}

function move(to) {
  const wanted = to.map((at, i) => Math.min(Math.max(at, 0), study.shape[i] - 1));
  const now = viewer.frac2vox(viewer.scene.crosshairPos);
  viewer.moveCrosshairInVox(...wanted.map((at, i) => at - now[i]));
}

function place(at) {
  const [ct, ...maps] = at.values;
  voxel = Array.from(ct.vox, (value, i) => Math.min(Math.max(value, 0), study.shape[i] - 1));
  AXES.forEach((axis, i) => {
    find(`slice-${axis}`).value = voxel[i];
    find(`at-${axis}`).textContent = `${voxel[i] + 1} of ${study.shape[i]}`;
  });
  const under = study.sets.flatMap((set) => {
    const names = set.structures.filter(({ place }) => place && labelAt(place.map, maps[place.map].vox) === place.label);
    return names.length ? [`${set.name}: ${names.map(({ name }) => name).join(", ")}`] : [];
  });
  const [x, y, z] = ct.mm;
  const where = [-x, -y, z].map((mm) => (Math.round(mm * 10) / 10 + 0).toFixed(1)).join(", ");
  find("place").textContent = [`${ct.value} HU at (${where}) mm, DICOM axes`, ...under].join(" · ");
}

function labelAt(map, [x, y, z]) {
  const { voxels, sides } = labels[map];
  const inside = [x, y, z].every((at, i) => at >= 0 && at < sides[i]);
  return inside ? voxels[x + sides[0] * (y + sides[1] * z)] : 0;
}
