// Reads and draws WXML, as far as the example uses it. What it does not know, it refuses.
const KNOWN = new Set(['view', 'text', 'input', 'block', 'button', 'image', 'scroll-view'])
const CONTROL = new Set(['wx:if', 'wx:elif', 'wx:else', 'wx:for', 'wx:for-item', 'wx:for-index', 'wx:key'])

/** Text -> a tree; throws if it is not well formed. */
export function parse(source, file) {
  const fail = (what) => {
    throw new Error(`${file}: ${what}`)
  }
  const root = {children: []}
  const stack = [root]
  const token = /<!--[\s\S]*?-->|<\/([\w-]+)\s*>|<([\w-]+)((?:\s+[\w:-]+(?:="[^"]*")?)*)\s*(\/?)>|([^<]+)|(<)/g
  for (const [all, close, tag, attrs, empty, text, stray] of source.matchAll(token)) {
    if (stray) fail(`a "<" that is no tag, near ${source.slice(source.indexOf(stray), 40)}`)
    else if (close) {
      const open = stack.pop()
      if (open.tag !== close) fail(`</${close}> closes <${open.tag}>`)
    } else if (tag) {
      if (!KNOWN.has(tag)) fail(`the tests do not know <${tag}>`)
      const node = {tag, attrs: {}, children: []}
      for (const [, name, value] of attrs.matchAll(/([\w:-]+)(?:="([^"]*)")?/g)) {
        if (name.startsWith('wx:') && !CONTROL.has(name)) fail(`the tests do not know ${name}`)
        node.attrs[name] = value ?? true
      }
      if (node.attrs['wx:for'] && !node.attrs['wx:key']) fail(`wx:for without wx:key on <${tag}>`)
      stack.at(-1).children.push(node)
      if (!empty) stack.push(node)
    } else if (text && text.trim()) stack.at(-1).children.push({text})
    else if (!all) fail('cannot be read')
  }
  if (stack.length > 1) fail(`<${stack.at(-1).tag}> is not closed`)
  return root.children
}

const compiled = new Map()
function evaluate(expression, scope) {
  if (!compiled.has(expression)) compiled.set(expression, new Function('$', `with ($) { return (${expression}) }`)) // an unknown name throws
  return compiled.get(expression)(scope)
}

function fill(text, scope) {
  const whole = /^\{\{([^]*?)\}\}$/.exec(text)
  if (whole && !whole[1].includes('{{')) return evaluate(whole[1], scope)
  return text.replace(/\{\{([^]*?)\}\}/g, (_, e) => evaluate(e, scope) ?? '')
}

/** Draws a tree with data; `handle(name, event)` gets what is tapped and typed. */
export function draw(tree, data, handle) {
  const list = (nodes, scope) => {
    const out = []
    let taken = true // of the last wx:if
    for (const node of nodes) {
      if (node.text !== undefined) {
        out.push({text: String(fill(node.text, scope) ?? '')})
        continue
      }
      const a = node.attrs
      if (a['wx:elif'] !== undefined || a['wx:else'] !== undefined) {
        if (taken || (a['wx:elif'] !== undefined && !fill(a['wx:elif'], scope))) continue
        taken = true
      } else if (a['wx:if'] !== undefined) {
        if (!(taken = !!fill(a['wx:if'], scope))) continue
      }
      const items = a['wx:for'] === undefined ? [undefined] : fill(a['wx:for'], scope)
      items.forEach((item, index) => {
        const inner = a['wx:for'] === undefined ? scope : {...scope, [a['wx:for-item'] ?? 'item']: item, [a['wx:for-index'] ?? 'index']: index}
        const children = list(node.children, inner)
        if (node.tag === 'block') return void out.push(...children)
        const made = {tag: node.tag, attrs: {}, on: {}, children}
        const dataset = {}
        for (const [name, value] of Object.entries(a)) {
          if (CONTROL.has(name)) continue
          const bound = /^(?:bind|catch):?(\w+)$/.exec(name)
          if (bound) made.on[bound[1]] = (detail) => handle(value, {type: bound[1], detail, currentTarget: {id: '', dataset}, target: {id: '', dataset}})
          else {
            made.attrs[name] = value === true ? true : fill(value, inner)
            if (name.startsWith('data-')) dataset[name.slice(5).replace(/-(\w)/g, (_, c) => c.toUpperCase())] = made.attrs[name]
          }
        }
        out.push(made)
      })
    }
    return out
  }
  return list(tree, data)
}
