// What the SDK opens its sockets with: the first one may have been opened before, by early.js.

/** A class like WebSocket. */
export function Socket(url) {
  const early = window.earlySocket
  window.earlySocket = null
  if (!early || early.url !== url || early.readyState > 1) return new WebSocket(url)
  if (early.readyState === 1) Promise.resolve().then(() => early.onopen && early.onopen()) // nobody listened when it did
  return early
}
