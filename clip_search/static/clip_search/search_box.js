/* Suggestions for the search boxes of clip_search/search_box.html: an editable combobox with a listbox, as in
   the ARIA Authoring Practices Guide. The focus stays in the input. */

"use strict";

(() => {
  const DELAY = 150; // milliseconds without a key before the server is asked
  const SHORTEST = 2; // letters

  function set(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  function start(form) {
    const input = form.querySelector("input[type=search]");
    const list = form.querySelector("[role=listbox]");
    const status = form.querySelector("[role=status]");
    let options = []; // {element, choose}
    let active = -1;
    let timer = 0;
    let request = new AbortController();

    const isOpen = () => !list.hidden;
    function activate(position) {
      options[active]?.element.setAttribute("aria-selected", "false");
      active = position;
      const element = options[active]?.element;
      if (element) {
        element.setAttribute("aria-selected", "true");
        element.scrollIntoView({ block: "nearest" });
        input.setAttribute("aria-activedescendant", element.id);
      } else {
        input.removeAttribute("aria-activedescendant");
      }
    }

    function setOpen(open) {
      list.hidden = !open;
      input.setAttribute("aria-expanded", String(open));
      activate(-1);
    }

    /* Close the list, and drop what the server still answers. */
    function close() {
      clearTimeout(timer);
      request.abort();
      setOpen(false);
      status.textContent = "";
    }

    function search(text) {
      input.value = text;
      close();
      form.requestSubmit();
    }

    function add(parent, name, text, attributes = {}) {
      const element = parent.appendChild(document.createElement("div"));
      if (name) element.className = `clip-search-box__${name}`;
      element.textContent = text;
      return set(element, attributes);
    }

    function addGroup(title, items) {
      if (!items.length) return;
      const group = add(list, "", "", { role: "group", "aria-label": title });
      add(group, "group", title, { "aria-hidden": "true" });
      for (const { text, note = "", choose } of items) {
        const id = `${list.id}-${options.length}`;
        const element = add(group, "option", text, { id, role: "option", "aria-selected": "false" });
        if (note !== "") add(element, "note", note);
        element.addEventListener("click", choose);
        options.push({ element, choose });
      }
    }

    function show({ queries, products, categories }) {
      activate(-1);
      options = [];
      list.replaceChildren();
      addGroup(form.dataset.queries, queries.map((text) => ({ text, choose: () => search(text) })));
      addGroup(form.dataset.products, products.map(({ name, url }) => ({
        text: name,
        choose: () => (url ? location.assign(url) : search(name)),
      })));
      addGroup(form.dataset.categories, categories.map(({ filter, value, label, count }) => ({
        text: label,
        note: count,
        choose: () => location.assign(`${form.action.split("?")[0]}?${new URLSearchParams({ [filter]: value })}`),
      })));
      setOpen(options.length > 0);
      status.textContent = (options.length ? form.dataset.some : form.dataset.none).replace("{count}", options.length);
    }

    async function ask() {
      clearTimeout(timer);
      request.abort();
      const text = input.value.trim();
      if (text.length < SHORTEST) return close();
      const { signal } = (request = new AbortController());
      const url = new URL(form.dataset.suggest, location.href);
      url.searchParams.set("q", text);
      url.searchParams.set("limit", form.dataset.limit);
      try {
        const response = await fetch(url, { signal, headers: { Accept: "application/json" } });
        if (!response.ok) return close(); // too many requests, or the shop cannot search now
        const found = await response.json();
        if (!signal.aborted) show(found);
      } catch (error) {
        if (error.name !== "AbortError") close();
      }
    }

    function onKey(event) {
      if (event.isComposing || event.ctrlKey || event.metaKey) return;
      const { key, altKey } = event;
      const last = options.length - 1;
      if (key === "ArrowDown" && !isOpen()) ask();
      else if (key === "ArrowUp" && altKey) close();
      else if (key === "ArrowDown" && !altKey) activate(active < last ? active + 1 : -1);
      else if (key === "ArrowUp" && isOpen()) activate(active < 0 ? last : active - 1);
      else if (key === "Enter" && isOpen() && active >= 0) options[active].choose();
      else if (key === "Escape" && isOpen()) close();
      else {
        if (key === "Tab" || key === "Enter") close();
        else if (["Home", "End", "ArrowLeft", "ArrowRight"].includes(key)) activate(-1); // back to the text
        return;
      }
      event.preventDefault();
    }

    set(input, { role: "combobox", "aria-autocomplete": "list", "aria-controls": list.id });
    setOpen(false);
    input.addEventListener("keydown", onKey);
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(ask, DELAY);
    });
    input.addEventListener("blur", close);
    list.addEventListener("mousedown", (event) => event.preventDefault()); // the focus stays in the input
  }

  for (const form of document.querySelectorAll("[data-clip-search-box]:not([data-ready])")) {
    form.dataset.ready = "";
    if (form.dataset.suggest) start(form);
  }
})();
