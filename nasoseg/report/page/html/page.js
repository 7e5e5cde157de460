"use strict";
/* Two parts, both without a library: tables that sort and filter, and the cases slice by slice. Texts of runs (names of
   methods, structures, patients) go to the page as text nodes and attributes only, never as HTML. */

(() => {
  const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  /* ---- tables ---- */

  const collator = new Intl.Collator("en", { numeric: true });

  /** The first number in a text such as "0.812" or "[−0.01, 0.02]"; NaN where there is none. */
  function numberIn(text) {
    const found = text.replace(/\u2212/g, "-").match(/-?\d+(\.\d+)?/);
    return found ? Number(found[0]) : NaN;
  }

  function makeSortable(root) {
    const body = root.querySelector("tbody");
    const headings = [...root.querySelectorAll("thead th")];
    const cells = JSON.parse(root.querySelector(".cells").textContent);
    const controls = root.querySelector(".controls");
    const [search, metric, count] = ["search", "metric", "count"].map((name) => root.querySelector("." + name));
    const filters = [...root.querySelectorAll(".filter")];
    const rows = [...body.rows].map((row, place) => ({ row, place, texts: [...row.cells].map((cell) => cell.textContent) }));
    const fixed = headings.filter((heading) => !heading.classList.contains("n")).length;

    function showMetric() {
      const chosen = cells[metric.value];
      for (const { row, place, texts } of rows) {
        chosen[place].forEach((text, i) => {
          texts[fixed + i] = text;
          row.cells[fixed + i].textContent = text;
        });
      }
      const sorted = headings.findIndex((heading) => heading.getAttribute("aria-sort") !== "none");
      if (sorted >= 0) sort(sorted, headings[sorted].getAttribute("aria-sort"));
    }

    function filter() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { row, texts } of rows) {
        const all = texts.join(" ").toLowerCase();
        const chosen = filters.every((one) => !one.value || texts[Number(one.dataset.column)] === one.value);
        row.hidden = !(chosen && words.every((word) => all.includes(word)));
        shown += !row.hidden;
      }
      count.textContent = `${shown} of ${rows.length} rows`;
    }

    /** Sort by a column; rows without a value stay at the end either way. */
    function sort(column, direction) {
      const sign = direction === "ascending" ? 1 : -1;
      const isNumber = headings[column].classList.contains("n");
      const keyed = rows.map((one) => ({ ...one, key: isNumber ? numberIn(one.texts[column]) : one.texts[column] }));
      keyed.sort((a, b) => {
        if (!isNumber) return sign * collator.compare(a.key, b.key) || a.place - b.place;
        if (Number.isNaN(a.key) || Number.isNaN(b.key)) return Number.isNaN(a.key) - Number.isNaN(b.key) || a.place - b.place;
        return sign * (a.key - b.key) || a.place - b.place;
      });
      body.append(...keyed.map((one) => one.row));
      headings.forEach((heading, i) => heading.setAttribute("aria-sort", i === column ? direction : "none"));
    }

    headings.forEach((heading, column) => {
      const button = make("button", { type: "button" }, heading.textContent);
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        sort(column, heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
      });
    });
    search.addEventListener("input", filter);
    filters.forEach((one) => one.addEventListener("change", filter));
    if (metric) metric.addEventListener("change", () => { showMetric(); filter(); });
    controls.hidden = false;
    filter();
  }

  document.querySelectorAll(".sortable").forEach(makeSortable);

  /* ---- cases ---- */

  const viewer = document.getElementById("viewer");
  if (viewer) showCases(JSON.parse(document.getElementById("cases-data").textContent));

  function showCases(data) {
    const [chooser, colourBy, stage, slider, place, remarks] = ["case", "colour-by", "stage", "slice", "place", "remarks"]
      .map((id) => document.getElementById(id));
    const shown = { methods: new Set(data.shown), structures: new Set(Object.keys(data.looks.structures)) };
    let current;

    function choices(id, kind, names) {
      const fieldset = document.getElementById(id);
      const boxes = names.map((name) => {
        const box = make("input", { type: "checkbox", value: name });
        box.checked = shown[kind].has(name);
        box.addEventListener("change", () => { shown[kind][box.checked ? "add" : "delete"](name); drawSlice(); });
        const key = draw("svg", { class: "key", viewBox: "0 0 32 14", "aria-hidden": "true", "data-kind": kind, "data-name": name },
          draw("line", { x1: 2, y1: 7, x2: 30, y2: 7, "stroke-width": 2.5 }));
        fieldset.append(make("label", {}, box, key, make("span", {}, name)));
        return box;
      });
      const both = [["all", true], ["none", false]].map(([text, wanted]) => {
        const button = make("button", { type: "button" }, text);
        button.addEventListener("click", () => {
          for (const box of boxes) {
            box.checked = wanted && !box.disabled;
            shown[kind][box.checked ? "add" : "delete"](box.value);
          }
          drawSlice();
        });
        return button;
      });
      fieldset.append(make("div", { class: "both" }, ...both));
      return boxes;
    }

    const methodBoxes = choices("methods", "methods", Object.keys(data.looks.methods));
    const structureBoxes = choices("names", "structures", Object.keys(data.looks.structures));

    /** Colour and dashes of a line; by structure, the truth is the dashed one. */
    function look(method, structure) {
      if (colourBy.value === "methods") return data.looks.methods[method];
      return [data.looks.structures[structure][0], method === data.truth ? "5 3" : ""];
    }

    function drawKeys() {
      for (const key of viewer.querySelectorAll(".key")) {
        const [colour, dashes] = data.looks[key.dataset.kind][key.dataset.name];
        key.style.display = key.dataset.kind === colourBy.value ? "" : "none";
        fill(key.firstChild, { stroke: colour, "stroke-dasharray": dashes || "none" }, []);
      }
    }

    function showCase() {
      current = data.cases[Number(chooser.value)];
      const busiest = current.slices.map((one) => one.paths.reduce((sum, of) => sum + Object.keys(of).length, 0));
      slider.max = current.slices.length - 1;
      slider.value = busiest.indexOf(Math.max(...busiest));
      for (const box of methodBoxes) box.disabled = !current.methods.includes(box.value);
      const drawn = current.drawn.map((i) => current.structures[i]);
      for (const box of structureBoxes) box.disabled = !drawn.includes(box.value);
      const scores = Object.entries(current.scores).map(([method, score]) => `${method} ${score}`).join(", ");
      const said = [`Mean DSC of the whole volume: ${scores}.`];
      if (current.notPredicted.length) said.push(`No prediction of: ${current.notPredicted.join(", ")}.`);
      if (current.notDrawn.length) said.push(`Not annotated, and not drawn for any method: ${current.notDrawn.join(", ")}.`);
      if (current.slices.length > 1) {
        const step = current.slices[1].z - current.slices[0].z;
        if (step > 1) said.push(`One slice in ${step} is shown, to keep the page small.`);
      }
      remarks.textContent = said.join(" ");
      drawSlice();
    }

    function drawSlice() {
      const [width, height] = current.size;
      const one = current.slices[Number(slider.value)];
      const picture = draw("image", { href: `data:image/webp;base64,${one.image}`, width, height, preserveAspectRatio: "none" });
      const lines = current.methods.flatMap((method, m) => {
        if (!shown.methods.has(method)) return [];
        return Object.entries(one.paths[m]).flatMap(([s, d]) => {
          const structure = current.structures[Number(s)];
          if (!shown.structures.has(structure)) return [];
          const [colour, dashes] = look(method, structure);
          const line = draw("path", { class: "line", d, stroke: colour, "stroke-dasharray": dashes || "none" },
            draw("title", {}, `${method}, ${structure}`));
          return [draw("path", { class: "rim", d }), line];
        });
      });
      const size = height / 22;
      const marks = [["R", size * 0.5, "start"], ["L", width - size * 0.5, "end"]].map(([text, x, anchor]) =>
        draw("text", { class: "mark", x, y: size * 1.4, "font-size": size, "text-anchor": anchor }, text));
      const bar = draw("line", { class: "bar", x1: size * 0.5, x2: size * 0.5 + 500, y1: height - size * 0.6, y2: height - size * 0.6,
        "vector-effect": "non-scaling-stroke" });
      marks.push(draw("text", { class: "mark", x: size * 0.5, y: height - size, "font-size": size * 0.8 }, "5 cm"));
      stage.replaceChildren(draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, picture, ...lines, bar, ...marks));
      const text = `slice ${one.z} of 0 to ${current.total - 1}`;
      place.textContent = text;
      slider.setAttribute("aria-valuetext", text);
      drawKeys();
    }

    function move(by) {
      slider.value = Number(slider.value) + by;
      drawSlice();
    }

    const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -1e6, End: 1e6 };
    stage.addEventListener("keydown", (event) => {
      if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      move(steps[event.key]);
    });
    stage.addEventListener("wheel", (event) => {
      if (document.activeElement !== stage) return; /* else the page could not be scrolled past the picture */
      event.preventDefault();
      move(event.deltaY < 0 ? 1 : -1);
    }, { passive: false });
    slider.addEventListener("input", drawSlice);
    colourBy.addEventListener("change", drawSlice);
    chooser.addEventListener("change", showCase);
    data.cases.forEach((one, i) => {
      const rule = one.rule ? `${one.rule}: ` : "";
      chooser.append(make("option", { value: i }, `${rule}${one.patient}, ${data.judge} ${one.score}`));
    });
    viewer.hidden = false;
    showCase();
  }
})();
