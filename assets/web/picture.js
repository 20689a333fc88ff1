// A picture's size, and a small one of it: made here, so that those who only look in need not load the whole.

const SMALL = 640 // px: twice what a message shows, for fine screens
const LIGHT = 100_000 // bytes that need no smaller one
const SHOWN = /^image\/(png|jpeg|gif|webp|avif|bmp)$/

/** Whether a file may be a picture that browsers show. */
export const isPicture = (file) => SHOWN.test(file.type)

/** Loads it. The browser turns it as its EXIF says, also when it is drawn. */
function load(url) {
  return new Promise((resolve, reject) => {
    const image = new Image()
    image.onload = () => resolve(image)
    image.onerror = () => reject(new Error('not a picture'))
    image.src = url
  })
}

/**
 * {width, height, thumb}: thumb is a Blob, or null where the picture is small or moves. Rejects if it is no picture.
 * @param {Blob} file
 * @param {string} url an object URL of it
 */
export async function readPicture(file, url) {
  const image = await load(url)
  const {naturalWidth: width, naturalHeight: height} = image
  if (!width || !height) throw new Error('not a picture')
  const scale = SMALL / Math.max(width, height)
  if (file.type === 'image/gif' || (file.size <= LIGHT && scale > 0.25)) return {width, height, thumb: null}
  return {width, height, thumb: await shrink(image, width, height, Math.min(1, scale), file)}
}

/** {width, height, duration, thumb} of a film: its first picture. What the browser cannot play has none of it. */
export function readFilm(url) {
  return new Promise((resolve) => {
    const video = document.createElement('video')
    const done = (thumb) => {
      clearTimeout(late)
      const {videoWidth: width, videoHeight: height, duration} = video
      video.removeAttribute('src')
      resolve({width, height, duration: Number.isFinite(duration) ? Math.round(duration * 1000) : 0, thumb})
    }
    const late = setTimeout(() => done(null), 4000)
    video.muted = true
    video.playsInline = true
    video.preload = 'auto'
    video.onerror = () => done(null)
    video.onloadeddata = async () => {
      const {videoWidth: width, videoHeight: height} = video
      done(width ? await shrink(video, width, height, Math.min(1, SMALL / Math.max(width, height)), null).catch(() => null) : null)
    }
    video.src = url
  })
}

async function shrink(source, width, height, scale, file) {
  const canvas = document.createElement('canvas')
  canvas.width = Math.max(1, Math.round(width * scale))
  canvas.height = Math.max(1, Math.round(height * scale))
  const pen = canvas.getContext('2d')
  if (!pen) return null
  pen.imageSmoothingQuality = 'high'
  // What may be seen through stays so where the browser writes WebP, and gets a white ground elsewhere.
  const through = file && /png|webp|avif/.test(file.type)
  let blob = null
  if (through) {
    pen.drawImage(source, 0, 0, canvas.width, canvas.height)
    blob = await encode(canvas, 'image/webp')
  }
  if (!blob || blob.type !== 'image/webp') {
    pen.fillStyle = '#fff'
    pen.fillRect(0, 0, canvas.width, canvas.height)
    pen.drawImage(source, 0, 0, canvas.width, canvas.height)
    blob = await encode(canvas, 'image/jpeg')
  }
  return blob && (!file || blob.size < file.size * 0.8) ? blob : null
}

const encode = (canvas, type) => new Promise((resolve) => canvas.toBlob(resolve, type, 0.8))
