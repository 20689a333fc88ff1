// QR codes, drawn on the device.
import {encodeQR} from './vendor/qr-make.js'

const SVG = 'http://www.w3.org/2000/svg'
const QUIET = 4 // modules of white around it: what the standard wants, and old scanners need

/** The modules of text's QR code, the quiet zone included: rows of booleans, true is dark. */
export function qrModules(text) {
  const make = (ecc) => encodeQR(text, 'raw', {ecc, border: QUIET})
  let best = make('medium')
  // More error correction costs nothing where the same size still holds it.
  for (const ecc of ['quartile', 'high']) {
    let more
    try { more = make(ecc) } catch (err) { break } // longer than any code can be
    if (more.length > best.length) break
    best = more
  }
  return best
}

/**
 * text as a QR code: an SVG that fills its box, black on white in dark mode too, because scanners want that.
 * label is what a screen reader says. It throws if text is longer than a QR code can be (about 2,300 bytes).
 */
export function qrSVG(text, {label}) {
  const rows = qrModules(text)
  const n = rows.length
  const svg = draw('svg', {viewBox: `0 0 ${n} ${n}`, role: 'img', 'aria-label': label, class: 'qr', 'shape-rendering': 'crispEdges'})
  svg.append(draw('path', {fill: '#fff', d: `M0 0h${n}v${n}h-${n}z`}), draw('path', {fill: '#000', d: rows.map(darkRuns).join('')}))
  return svg
}

/** The dark runs of a row as a path: one rectangle for each. */
function darkRuns(row, y) {
  let d = ''
  for (let x = 0; x < row.length; x++) {
    const from = x
    while (row[x]) x++
    if (x > from) d += `M${from} ${y}h${x - from}v1h-${x - from}z`
  }
  return d
}

function draw(tag, attributes) {
  const node = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value)
  return node
}
