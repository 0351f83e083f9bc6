"use strict";
(() => {
  // Data is only ever parsed as JSON and written as text.
  const PAGE = 100;
  const sets = JSON.parse(document.querySelector('script[type="application/json"]').textContent);
  const at = (id) => document.getElementById(id);
  const make = (tag, text = "", about = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(about)) element.setAttribute(name, value);
    return element;
  };
  const number = (value) => (value === null ? "—" : String(value));
  let set, features, order, sorted, page, chosen;

  const show = (i) => {
    set = sets[i];
    features = set.columns[0].values;
    sorted = { column: -1, descending: true };
    chosen = null;
    at("facts").textContent = set.facts;
    at("missing").replaceChildren(...set.missing.map((text) => make("li", text)));
    at("fit").hidden = set.fidelity.length === 0;
    at("fidelity").replaceChildren(...set.fidelity.map((cells, row) => {
      const line = make("tr");
      line.append(...cells.map((cell) => make(row ? "td" : "th", cell)));
      return line;
    }));
    at("feature").replaceChildren(make("p", "Choose a feature to see where it fires."));
    heads();
    find();
  };

  const heads = () => {
    at("heads").replaceChildren(...set.columns.map((column, i) => {
      const mine = sorted.column === i;
      const direction = mine ? (sorted.descending ? "descending" : "ascending") : "none";
      const head = make("th", "", { scope: "col", "aria-sort": direction, class: column.text ? "text" : "" });
      const button = make("button", column.label + (mine ? (sorted.descending ? " ▼" : " ▲") : ""), { title: column.about });
      button.addEventListener("click", () => sortBy(i));
      head.append(button);
      return head;
    }));
  };

  // Largest first, then smallest first, then as at first: what moved most.
  const sortBy = (i) => {
    if (sorted.column !== i) sorted = { column: i, descending: true };
    else if (sorted.descending) sorted.descending = false;
    else sorted = { column: -1, descending: true };
    heads();
    find();
    at("heads").querySelectorAll("button")[i].focus();
  };

  const sort = () => {
    if (sorted.column < 0) return order.sort((a, b) => a - b);
    const { text, values } = set.columns[sorted.column];
    const sign = sorted.descending ? -1 : 1;
    const size = (value) => ({ inf: Infinity, "-inf": -Infinity })[value] ?? value;
    const none = (value) => value === null || value === "";
    const compare = text ? (a, b) => (a < b ? -1 : a > b ? 1 : 0) : (a, b) => size(a) - size(b);
    return order.sort((a, b) => {
      if (none(values[a]) || none(values[b])) return none(values[a]) - none(values[b]) || a - b;
      return sign * compare(values[a], values[b]) || a - b;
    });
  };

  // What a search looks into: texts of a row, words of its lens, prompts and tokens of its examples.
  const texts = () => {
    if (set.texts) return set.texts;
    const columns = set.columns.filter((column) => column.text);
    set.texts = features.map((feature, i) => {
      const parts = columns.map((column) => column.values[i]);
      for (const [word] of set.words[feature] || []) parts.push(word);
      for (const example of examples(feature)) {
        parts.push(example.prompt, example.tokens.map((token) => set.examples.pieces[token]).join(""));
      }
      return parts.join("\n").toLowerCase();
    });
    return set.texts;
  };
  const examples = (feature) => set.examples.features?.[feature]?.examples || [];

  const find = () => {
    const query = at("search").value.trim().toLowerCase();
    order = [...features.keys()];
    if (query) {
      const all = texts();
      order = order.filter((i) => String(features[i]) === query || all[i].includes(query));
    }
    sort();
    page = 0;
    rows();
  };

  const rows = () => {
    const first = page * PAGE;
    const lines = order.slice(first, first + PAGE).map((i) => {
      const line = make("tr");
      if (features[i] === chosen) line.setAttribute("aria-current", "true");
      line.append(...set.columns.map((column, j) => {
        const value = column.values[i];
        if (j && column.text) return make("td", value, { class: "text", title: value });
        if (j) return make("td", number(value));
        const cell = make("td"), button = make("button", value);
        button.addEventListener("click", () => choose(value));
        cell.append(button);
        return cell;
      }));
      return line;
    });
    at("rows").replaceChildren(...lines);
    at("list").scrollTop = 0;
    const last = Math.min(first + PAGE, order.length);
    const span = order.length ? `, ${(first + 1).toLocaleString("en")} to ${last.toLocaleString("en")}` : "";
    at("count").textContent = `${order.length.toLocaleString("en")} of ${features.length.toLocaleString("en")} features${span}`;
    at("back").disabled = page === 0;
    at("next").disabled = last >= order.length;
  };

  const choose = (feature) => {
    chosen = feature;
    at("rows").querySelectorAll("tr").forEach((line) => {
      const mine = line.querySelector("button").textContent === String(feature);
      if (mine) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    });
    const i = features.indexOf(feature);
    const numbers = make("dl");
    numbers.append(...set.columns.slice(1).map((column) => {
      const pair = make("div", "", { title: column.about });
      pair.append(make("dt", column.label), make("dd", column.text ? column.values[i] : number(column.values[i])));
      return pair;
    }));
    at("feature").replaceChildren(make("h2", `Feature ${feature}`), numbers, ...fires(feature), ...writes(feature));
    at("feature").scrollTop = 0;
  };

  const fires = (feature) => {
    const own = set.examples.features?.[feature];
    const heading = make("h3", "Where it fires most");
    if (!own) return [heading, make("p", "Not on this page.")];
    const table = make("table", "", { id: "examples" }), names = make("tr");
    names.append(...set.examples.checkpoints.map((name) => make("th", name, { scope: "col" })));
    table.append(names);
    for (const example of own.examples) {
      const label = make("tr"), line = make("tr");
      label.append(make("th", example.prompt, { class: "prompt", colspan: example.acts.length }));
      line.append(...example.acts.map((acts, i) => tokens(example, acts, example.fvu[i], own.scale)));
      table.append(label, line);
    }
    const note = `White 0, full color ${own.scale}, the same scale everywhere; hovering tells activation, token and role.`;
    return [heading, make("small", note), table];
  };

  const tokens = (example, acts, fvu, scale) => {
    const cell = make("td", "", { class: "tokens" });
    if (acts.every((act) => act === null)) return make("td", "not recorded");
    const [before, after] = example.cut;
    if (before) cell.append(make("small", `${before} tokens … `));
    example.tokens.forEach((token, i) => {
      const text = set.examples.pieces[token], role = set.examples.roles[example.roles[i]];
      const span = make("span", text, { title: `${number(acts[i])} · ${text} · ${role}` });
      const share = Math.min(Math.abs(acts[i] || 0) / scale, 1);
      const full = acts[i] < 0 ? [213, 94, 0] : [0, 114, 178];
      span.style.background = `rgb(${full.map((channel) => Math.round(255 + (channel - 255) * share))})`;
      span.style.color = share > 0.6 ? "white" : "black";
      cell.append(span);
    });
    if (after) cell.append(make("small", ` … ${after} tokens`));
    if (fvu !== null) cell.append(make("br"), make("small", `fvu ${fvu}`));
    return cell;
  };

  const writes = (feature) => {
    const heading = make("h3", "Words it writes (logit lens)"), own = set.words[feature];
    if (!own) return [heading, make("p", "Not on this page.")];
    const side = (name, words) => {
      const line = make("p", `${name}: `);
      for (const [word, weight] of words) line.append(make("b", word), ` ${number(weight)}  `);
      return line;
    };
    const more = own.filter(([, weight]) => weight > 0), less = own.filter(([, weight]) => !(weight > 0)).reverse();
    return [heading, side("Likelier", more), side("Less likely", less)];
  };

  // Arrows go from feature to feature.
  at("rows").addEventListener("keydown", (event) => {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const line = step && event.target.closest("tr")[step];
    if (!line) return;
    event.preventDefault();
    line.querySelector("button").focus();
  });
  at("search").addEventListener("input", find);
  at("back").addEventListener("click", () => { page -= 1; rows(); });
  at("next").addEventListener("click", () => { page += 1; rows(); });
  at("which").hidden = sets.length < 2;
  at("sets").append(...sets.map((one, i) => make("option", one.name, { value: i })));
  at("sets").addEventListener("change", (event) => show(event.target.value));
  show(0);
})();
