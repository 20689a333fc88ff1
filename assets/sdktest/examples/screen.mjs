// What a user sees and does: a tree of nodes {tag, attrs, on, children} or {text}, made by wxapp.mjs and uniapp.mjs.
import assert from 'node:assert/strict'

export const textOf = (node) => (node.text !== undefined ? node.text : node.children.map(textOf).join(' ')).replace(/\s+/g, ' ').trim()

/** A screen over a function that gives the nodes as they are now. */
export class Screen {
  constructor(nodes) {
    this.nodes = nodes
  }
  all() {
    const list = []
    const walk = (n) => (list.push(n), n.children?.forEach(walk))
    this.nodes().forEach(walk)
    return list
  }
  text() {
    return this.nodes().map(textOf).join(' ')
  }
  has(words) {
    return this.text().includes(words)
  }
  /** The texts of all nodes of a class. */
  texts(name) {
    return this.all().filter((n) => String(n.attrs?.class ?? '').split(/\s+/).includes(name)).map(textOf)
  }
  /** The smallest node with these words that listens for it. */
  find(words, event) {
    const fit = this.all().filter((n) => n.on?.[event] && (textOf(n).includes(words) || n.attrs.placeholder === words))
    assert.ok(fit.length, `nothing to ${event} says "${words}": ${this.text()}`)
    return fit.sort((a, b) => textOf(a).length - textOf(b).length)[0]
  }
  tap(words) {
    this.find(words, 'tap').on.tap({})
  }
  longpress(words) {
    this.find(words, 'longpress').on.longpress({})
  }
  type(placeholder, value) {
    this.find(placeholder, 'input').on.input({value, cursor: value.length, keyCode: 0})
  }
  confirm(placeholder) {
    const node = this.find(placeholder, 'confirm')
    node.on.confirm({value: node.attrs.value})
  }
  value(placeholder) {
    return this.find(placeholder, 'input').attrs.value
  }
}

export async function until(what, ok, ms = 20000) {
  const end = Date.now() + ms
  for (;;) {
    const is = await ok()
    if (is) return is
    if (Date.now() > end) assert.fail(`waited ${ms} ms for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
