// Making nodes. What a person typed enters the page as text only: there is no way to HTML here.

export const $ = (id) => document.getElementById(id)

// Some phones' browsers have modules, but this not yet.
if (typeof Element !== 'undefined' && !Element.prototype.replaceChildren) {
  Element.prototype.replaceChildren = function (...nodes) {
    this.textContent = ''
    this.append(...nodes)
  }
}

/** An element with properties, `class` and `data` among them, and children (nodes or text). */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (name === 'class') node.className = value
    else if (name === 'data') Object.assign(node.dataset, value)
    else if (name in node) node[name] = value
    else node.setAttribute(name, value)
  }
  node.append(...children)
  return node
}

/** One of the drawings at the top of index.html. */
export function icon(name) {
  const ns = 'http://www.w3.org/2000/svg'
  const svg = document.createElementNS(ns, 'svg')
  svg.setAttribute('class', 'icon')
  svg.setAttribute('aria-hidden', 'true')
  const use = document.createElementNS(ns, 'use')
  use.setAttribute('href', '#i-' + name)
  svg.append(use)
  return svg
}

/** A coloured circle with the name's first letter. The colour follows from the name. */
export function avatar(name) {
  let hash = 0x811c9dc5 // FNV-1a; its upper bits are the better mixed ones
  for (const c of name) hash = Math.imul(hash ^ c.codePointAt(0), 0x01000193)
  return el('span', {class: 'avatar tone' + ((hash ^ hash >>> 15) >>> 9) % 8, 'aria-hidden': 'true'}, initial(name))
}

function initial(name) {
  const first = name.match(/[\p{L}\p{N}]/u) || name.match(/./u) || ['?']
  return first[0].toUpperCase()
}

/** What the browser keeps for this page; it may be forbidden or full, and then nothing is kept. */
export const memory = {
  get(key) {
    try { return localStorage.getItem('teahouse.' + key) || '' } catch (err) { return '' }
  },
  set(key, value) {
    try {
      if (value) localStorage.setItem('teahouse.' + key, value)
      else localStorage.removeItem('teahouse.' + key)
    } catch (err) { /* then not */ }
  },
}

/**
 * The secret by which the server knows that a name is this browser's; made at the first call. Empty where nothing
 * can be kept. getRandomValues is there without https too.
 */
export function nameSecret() {
  const had = memory.get('secret')
  if (had) return had
  const made = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => (256 + byte).toString(16).slice(1)).join('')
  memory.set('secret', made)
  return memory.get('secret')
}

/** A name for this tab, so that a person's devices can be told apart. */
export function deviceName() {
  try {
    const had = sessionStorage.getItem('teahouse.device')
    if (had) return had
    const made = 'web-' + Math.random().toString(36).slice(2, 10)
    sessionStorage.setItem('teahouse.device', made)
    return made
  } catch (err) {
    return 'web'
  }
}

/**
 * The storage for the SDK: it keeps the outbox, but no places. The page begins each time with the newest page of
 * each room, the server knows what was read, and a long absence is not replayed message by message.
 */
export function outboxOnly() {
  try {
    const kept = localStorage
    const isPlaces = (key) => key.startsWith('teahouse places ')
    return {
      getItem: (key) => (isPlaces(key) ? null : kept.getItem(key)),
      setItem(key, value) { if (!isPlaces(key)) kept.setItem(key, value) },
      removeItem(key) { if (!isPlaces(key)) kept.removeItem(key) },
    }
  } catch (err) {
    return null
  }
}
