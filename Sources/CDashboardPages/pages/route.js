// The page and its settings live in the URL's hash, `#shards?state=Serving&page=2`, so that a link or reload brings
// back the same view.

const listeners = [];

export const pageNames = ["overview", "topology", "shards", "moves", "events", "keys"];

export function route() {
  const [name, query = ""] = decodeHash().split("?", 2);
  return { page: pageNames.includes(name) ? name : "overview", params: Object.fromEntries(new URLSearchParams(query)) };
}

function decodeHash() {
  const hash = location.hash.slice(1);
  // Some programs escape the question mark when they pass a link on.
  return hash.replace(/^([a-z]+)%3F/i, "$1?");
}

export function address(page, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== "" && value !== null && value !== undefined) query.set(name, value);
  }
  const string = query.toString();
  return string ? `#${page}?${string}` : `#${page}`;
}

// Changes settings of the page that is shown. It replaces the entry of the history: filters are no stops for "back".
export function change(settings) {
  const { page, params } = route();
  history.replaceState(null, "", address(page, { ...params, ...settings }));
  for (const listener of listeners) listener();
}

export function onRoute(listener) {
  listeners.push(listener);
  addEventListener("hashchange", listener);
}
