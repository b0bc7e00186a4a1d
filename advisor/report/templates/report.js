(() => {
  "use strict";
  const config = { displaylogo: false, displayModeBar: false, responsive: true, showTips: false };
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const coarse = matchMedia("(pointer: coarse)");

  // Plotly knows no CSS custom properties: "var(--name)" becomes the colour that the page uses now.
  const painted = (value, style) => {
    if (typeof value === "string") return /^var\(--[a-z]+\)$/.test(value) ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
    if (Array.isArray(value)) return value.map((item) => painted(item, style));
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, style)]));
    return value;
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    for (const place of document.querySelectorAll("[data-figure]")) {
      const figure = painted(figures[place.dataset.figure], style);
      figure.layout.dragmode = coarse.matches ? false : "zoom"; // a finger that scrolls the page must not zoom
      Plotly.react(place, figure.data, figure.layout, config);
    }
  };

  const addCopyButtons = () => {
    for (const block of document.querySelectorAll(".snippet")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.addEventListener("click", () => {
        const range = document.createRange();
        range.selectNodeContents(block.querySelector("code"));
        const selection = getSelection();
        selection.removeAllRanges();
        selection.addRange(range);
        const done = document.execCommand("copy"); // works from file:, where navigator.clipboard may not
        button.textContent = done ? "Copied" : "Selected";
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
      block.append(button);
    }
  };

  // Plotly is packed. Its text becomes an inline script, which the page's policy allows by its hash.
  const unpack = async () => {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };

  const showCharts = async () => {
    const places = document.querySelectorAll("[data-figure]");
    try {
      await unpack();
    } catch {
      for (const place of places) place.style.minHeight = 0; // what stands there says where the numbers are
      return;
    }
    for (const place of places) place.replaceChildren();
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    matchMedia("print").addEventListener("change", draw);
  };

  addCopyButtons();
  if (document.querySelector("[data-figure]")) showCharts();
  // A printed page cannot be unfolded.
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      details.open = true;
      details.dataset.closed = "";
    }
  });
  addEventListener("afterprint", () => {
    for (const details of document.querySelectorAll("details[data-closed]")) {
      details.open = false;
      delete details.dataset.closed;
    }
  });
})();
