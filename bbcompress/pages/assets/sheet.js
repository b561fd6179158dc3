(() => {
  const sheet = document.getElementById("sheet");
  const order = document.getElementById("order");
  const turn = document.getElementById("turn");
  const find = document.getElementById("find");
  const count = document.getElementById("count");
  const items = [...sheet.children].map((element) => ({
    element,
    values: element.dataset.v.split(" ").map(Number),
    name: element.querySelector("b").textContent,
  }));

  // A picture is decoded once it comes near.
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      const image = entry.target.querySelector("img");
      image.src = `data:image/${image.dataset.s}`;
      near.unobserve(entry.target);
    }
  }, { rootMargin: "600px" });
  for (const item of items) near.observe(item.element);

  const compare = new Intl.Collator(undefined, { numeric: true }).compare;
  const sort = () => {
    const key = order.value;
    const sign = turn.getAttribute("aria-pressed") === "true" ? -1 : 1;
    items.sort((a, b) => {
      const first = key === "name" ? compare(a.name, b.name) : a.values[key] - b.values[key];
      return sign * (first || a.values[0] - b.values[0]);
    });
    const all = document.createDocumentFragment();
    for (const item of items) all.append(item.element);
    sheet.append(all);
  };
  const show = () => {
    const part = find.value.toLowerCase();
    let shown = 0;
    for (const item of items) {
      item.element.hidden = !item.name.toLowerCase().includes(part);
      shown += !item.element.hidden;
    }
    count.textContent = part ? `${shown} of ${items.length}` : "";
  };
  order.addEventListener("change", sort);
  turn.addEventListener("click", () => {
    turn.setAttribute("aria-pressed", String(turn.getAttribute("aria-pressed") !== "true"));
    sort();
  });
  find.addEventListener("input", show);
  if (items.some((item, number) => number && item.values[0] < items[number - 1].values[0])) sort();
})();
