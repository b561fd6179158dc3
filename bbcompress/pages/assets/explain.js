(() => {
  const slider = document.getElementById("cut");
  const over = document.querySelector(".stage .over");
  const edge = document.querySelector(".stage .edge");
  if (!slider || !over) return;
  const cut = () => {
    const share = `${slider.value}%`;
    over.style.clipPath = `inset(0 0 0 ${share})`;
    edge.style.left = share;
    slider.setAttribute("aria-valuetext", `the image up to ${slider.value} % of the width, its map beyond`);
  };
  slider.addEventListener("input", cut);
  cut();

  // What a place takes: its colour in the map, looked up in the legend's colours.
  const facts = JSON.parse(document.getElementById("map-facts").textContent);
  const place = document.getElementById("place");
  const read = (image, width, height) => {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, width, height);
    return context;
  };
  let map = null;
  const levels = new Map();
  const prepare = async () => {
    const legend = document.querySelector(".legend img");
    await Promise.all([over.decode(), legend.decode()]);
    const colours = read(legend, 256, 1).getImageData(0, 0, 256, 1).data;
    for (let level = 0; level < 256; level++) {
      levels.set((colours[4 * level] << 16) | (colours[4 * level + 1] << 8) | colours[4 * level + 2], level);
    }
    map = read(over, over.naturalWidth, over.naturalHeight);
  };
  const stage = document.querySelector(".stage");
  stage.addEventListener("pointermove", async (event) => {
    if (!map) await prepare();
    const box = over.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width;
    const down = (event.clientY - box.top) / box.height;
    if (across < 0 || down < 0 || across >= 1 || down >= 1) return;
    const at = map.getImageData(Math.floor(across * map.canvas.width), Math.floor(down * map.canvas.height), 1, 1).data;
    const level = levels.get((at[0] << 16) | (at[1] << 8) | at[2]);
    if (level === undefined) return;
    const bits = (level * facts.most / 255).toFixed(2);
    const more = level === 255 ? " or more" : "";
    place.textContent = `x ${Math.floor(across * facts.width)}, y ${Math.floor(down * facts.height)}: ${bits} bits${more}`;
  });
})();
