// Reading QR codes: from pixels, from a photo, from the camera. Where the browser has a BarcodeDetector it looks first.
import {decodeQR} from './vendor/qr-read.js'

const SIDE = 1600 // a photo's longer side, in pixels: enough for a code that fills a tenth of it
const FRAME = 960 // a camera picture's
const PAUSE = 120 // ms between two looks
const MOST = 4_000_000 // pixels that are made of one picture

// What is not read as it is is often read otherwise: a small code when it is larger, a blurred or noisy one when it is
// smaller, one seen from the side when the picture is tilted the other way. In the order of what helps most (measured
// on the pictures of sdktest/decode.test.mjs).
const TILT = 0.5
const WAYS = [
  (image) => image,
  ...[1.5, 2, 0.6, 0.4].map((by) => (image) => resized(image, by)),
  ...[0, 4, 2, 6, 1, 5, 3, 7].map((eighth) => (image) => tilted(image, eighth * Math.PI / 4)),
]
const ALL = {effort: Infinity, timeLimit: Infinity}

/** The text of the QR code in an ImageData, or ''. */
export function readPixels(image, ways = WAYS) {
  for (const way of ways) {
    try {
      return decodeQR(way(image), ALL)
    } catch (err) { /* there is none, in this way */ }
  }
  return ''
}

const grey = ({width, data}, x, y) => {
  const i = 4 * (y * width + x)
  return (data[i] * 77 + data[i + 1] * 151 + data[i + 2] * 28) / 256
}

/** A picture from the grey level of each of its pixels. */
function drawn(width, height, level) {
  const data = new Uint8ClampedArray(4 * width * height)
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      data[i++] = data[i++] = data[i++] = level(x, y)
      data[i++] = 255
    }
  }
  return {width, height, data}
}

/** image in grey, `by` times as large: each pixel is the mean of what it covers, or lies between its neighbours. */
function resized(image, by) {
  const width = Math.max(1, Math.round(image.width * by))
  const height = Math.max(1, Math.round(image.height * by))
  if (width * height > MOST) throw new RangeError('it would be too large')
  if (by > 1) return drawn(width, height, (x, y) => between(image, (x + 0.5) / by - 0.5, (y + 0.5) / by - 0.5))
  return drawn(width, height, (x, y) => {
    const right = Math.min(image.width, Math.ceil((x + 1) / by))
    const bottom = Math.min(image.height, Math.ceil((y + 1) / by))
    let sum = 0
    let n = 0
    for (let sy = Math.floor(y / by); sy < bottom; sy++) for (let sx = Math.floor(x / by); sx < right; sx++, n++) sum += grey(image, sx, sy)
    return n ? sum / n : 255
  })
}

/** image in grey as it looks from further round to one side. */
function tilted(image, side) {
  const {width, height} = image
  const size = Math.min(width, height)
  const tx = Math.cos(side)
  const ty = Math.sin(side)
  return drawn(width, height, (x, y) => {
    const px = (x - width / 2) / size
    const py = (y - height / 2) / size
    const along = px * tx + py * ty
    const near = size / (1 - TILT * along)
    const more = 0.6 * TILT * along * near
    return between(image, px * near + tx * more + width / 2, py * near + ty * more + height / 2)
  })
}

/** The grey level at a point between pixels. */
function between(image, x, y) {
  const fx = Math.min(image.width - 1, Math.max(0, x))
  const fy = Math.min(image.height - 1, Math.max(0, y))
  const x0 = Math.floor(fx)
  const y0 = Math.floor(fy)
  const x1 = Math.min(image.width - 1, x0 + 1)
  const y1 = Math.min(image.height - 1, y0 + 1)
  const top = grey(image, x0, y0) + (grey(image, x1, y0) - grey(image, x0, y0)) * (fx - x0)
  return top + (grey(image, x0, y1) + (grey(image, x1, y1) - grey(image, x0, y1)) * (fx - x0) - top) * (fy - y0)
}

/** The pixels of something that can be drawn, its longer side at most `side`. */
function pixels(source, width, height, side, canvas = document.createElement('canvas')) {
  const by = Math.min(1, side / Math.max(width, height))
  canvas.width = Math.max(1, Math.round(width * by))
  canvas.height = Math.max(1, Math.round(height * by))
  const context = canvas.getContext('2d', {willReadFrequently: true})
  context.drawImage(source, 0, 0, canvas.width, canvas.height)
  return context.getImageData(0, 0, canvas.width, canvas.height)
}

let detector // the browser's own; null: it has none, or it does not work
async function detect(source) {
  if (detector === undefined) {
    detector = null
    try {
      if ((await BarcodeDetector.getSupportedFormats()).includes('qr_code')) detector = new BarcodeDetector({formats: ['qr_code']})
    } catch (err) { /* it has none */ }
  }
  try {
    return detector ? (await detector.detect(source)).map((b) => b.rawValue).find(Boolean) || '' : ''
  } catch (err) {
    detector = null // some announce it and cannot do it
    return ''
  }
}

/** The text of the QR code on a photo (a File), or ''. Rejects if it is no picture that the browser can open. */
export async function readPhoto(file) {
  const url = URL.createObjectURL(file)
  try {
    const img = new Image()
    img.src = url
    await img.decode() // turns it as the camera was held, too
    return await detect(img) || readPixels(pixels(img, img.naturalWidth, img.naturalHeight, SIDE))
  } finally {
    URL.revokeObjectURL(url)
  }
}

/** Whether this page may use the camera at all: not on plain http, but for this very computer. */
export const hasCamera = () => !!(window.isSecureContext && navigator.mediaDevices && navigator.mediaDevices.getUserMedia)

/**
 * The camera, shown in the element video. found(text) is called for each picture with a code on it, so many times a
 * second while it is held there. start() rejects with the browser's error (NotAllowedError, NotFoundError, …).
 */
export function makeCamera(video, found) {
  const canvas = document.createElement('canvas')
  let stream = null
  let turn = 0

  async function start() {
    stop()
    const mine = ++turn
    const got = await navigator.mediaDevices.getUserMedia({audio: false, video: {facingMode: {ideal: 'environment'}, width: {ideal: 1280}, height: {ideal: 720}}})
    if (mine !== turn) return got.getTracks().forEach((track) => track.stop()) // it was stopped meanwhile
    stream = got
    video.srcObject = got
    await video.play()
    for (let i = 0; mine === turn; i++) {
      const text = video.videoWidth ? await look(i) : ''
      if (text && mine === turn) found(text)
      await new Promise((done) => setTimeout(done, PAUSE))
    }
  }

  // One picture in one way: the next one comes soon.
  async function look(i) {
    const text = await detect(video)
    if (text || detector) return text
    const way = i % 2 ? WAYS[(i >> 1) % WAYS.length] : WAYS[0]
    return readPixels(pixels(video, video.videoWidth, video.videoHeight, FRAME, canvas), [way])
  }

  function stop() {
    turn++
    if (stream) for (const track of stream.getTracks()) track.stop()
    stream = video.srcObject = null
  }

  const track = () => stream && stream.getVideoTracks()[0]
  return {
    start: () => new Promise((begun, failed) => {
      video.onplaying = () => begun()
      start().then(begun, failed)
    }),
    stop,
    get runs() { return !!stream },
    /** Whether it has a lamp. */
    get hasTorch() {
      const t = track()
      return !!(t && t.getCapabilities && t.getCapabilities().torch)
    },
    torch: (on) => track().applyConstraints({advanced: [{torch: on}]}),
  }
}
