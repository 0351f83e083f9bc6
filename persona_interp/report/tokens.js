"use strict";
(() => {
  // CircuitsVis draws a moment later; its own tooltip, which spells out entities, is hidden by the style.
  const draw = (place, props, title) => {
    place.id = `view-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
    new MutationObserver((_, observer) => {
      observer.disconnect();
      place.querySelectorAll(".colored-tokens > span").forEach((token, i) => { token.title = title(token, i); });
    }).observe(place, { childList: true });
    CircuitsVis.render(place.id, CircuitsVis.ColoredTokens, props);
  };
  // In a notebook whose bundle went with another cell's output, views stay the plain spans that they are.
  if (!("CircuitsVis" in window)) return;
  // On a page a view is a JSON block behind an empty place. Data is only ever parsed as JSON.
  document.querySelectorAll('.view:empty + script[type="application/json"]').forEach((data) => {
    const props = JSON.parse(data.textContent);
    const roles = props.roles.flatMap(([role, n]) => Array(n).fill(role));
    const title = (token, i) => `${props.values[i]} · ${token.textContent} · ${roles[i]}`;
    draw(data.previousElementSibling, props, title);
  });
  document.querySelectorAll("[data-persona-scale]").forEach((place) => {
    const scale = JSON.parse(place.dataset.personaScale);
    place.removeAttribute("data-persona-scale");
    const spans = [...place.querySelectorAll("span")];
    const tokens = spans.map((span) => span.innerHTML); // which Python escaped
    const values = spans.map((span) => Number(span.dataset.act));
    place.replaceChildren();
    draw(place, { ...scale, tokens, values }, (_, i) => spans[i].title);
  });
})();
