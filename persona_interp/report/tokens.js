"use strict";
// Each JSON block becomes a CircuitsVis view in the element before it. Data is only ever parsed as JSON.
document.querySelectorAll('.view + script[type="application/json"]').forEach((data, i) => {
  data.previousElementSibling.id = `view-${i}`;
  CircuitsVis.render(`view-${i}`, CircuitsVis.ColoredTokens, JSON.parse(data.textContent));
});
