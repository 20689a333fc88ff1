// Files within a message: pictures, players, and a card for all else.
import {el, icon} from './dom.js'
import {t} from './i18n.js'
import {box} from './body.js'
import {sizeText, durationText} from './links.js'
import {showPicture} from './viewer.js'

const MOST_WIDTH = 280 // px of a picture in a message
const MOST_HEIGHT = 320

// What was uploaded from here need not be fetched again: the newest ones.
const copies = new Map()
export function keepCopy(id, url) {
  copies.set(id, url)
  for (const [old, address] of copies) {
    if (copies.size <= 20) break
    copies.delete(old)
    URL.revokeObjectURL(address)
  }
}

/**
 * The node of a file. While it is being uploaded `local` has what the page itself holds of it.
 * @param {import('./body.js').FileOf} file
 * @param {{url: string, width?: number, height?: number}} [local]
 */
export function fileNode(file, local) {
  const url = local ? local.url : file.url
  if (!url) return card(file, '')
  if (file.view === 'picture') return picture(file, url, local || (copies.has(file.id) && {url: copies.get(file.id)}))
  if (file.view === 'voice') return voice(file, url)
  if (file.view === 'audio') {
    return el('div', {class: 'sound'}, label(file), el('audio', {controls: true, preload: 'none', src: url, 'aria-label': file.name}))
  }
  if (file.view === 'video') return film(file, url, local)
  return card(file, url)
}

function sized(node, file, mostWidth = MOST_WIDTH) {
  const {width, height} = box(file, mostWidth, MOST_HEIGHT)
  node.width = width
  node.height = height
  return node
}

function picture(file, url, local) {
  const image = sized(el('img', {alt: file.name, decoding: 'async', draggable: false}), file)
  if (!file.width) image.classList.add('unsized')
  const frame = el('button', {type: 'button', class: 'pic', 'aria-label': t('picture_named', {name: file.name})}, image)
  frame.addEventListener('click', () => showPicture({url: local ? local.url : url, name: file.name}))
  image.addEventListener('error', () => {
    if (file.thumb && !local && image.getAttribute('src') === file.thumb) image.src = url // the small one may be gone alone
    else frame.replaceWith(card(file, ''))
  })
  image.src = local ? local.url : file.thumb || url
  return frame
}

function film(file, url, local) {
  const video = sized(el('video', {controls: true, preload: 'metadata', playsInline: true, src: url, 'aria-label': file.name}), file)
  if (!local && file.thumb) {
    video.poster = file.thumb
    video.preload = 'none'
  }
  return el('div', {class: 'film'}, video)
}

const label = (file) => el('span', {class: 'file-name', dir: 'auto'}, file.name)

/** Name and size, and a link that saves it. Without a url the file is not there (any more). */
function card(file, url) {
  const text = el('span', {class: 'file-text'}, label(file), el('span', {class: 'file-size'}, !url && file.id ? t('file_gone') : file.size ? sizeText(file.size) : ''))
  if (!url) return el('div', {class: 'card-file'}, icon('file'), text)
  return el('a', {class: 'card-file', href: url, download: file.name, 'aria-label': t('file_named', {name: file.name, size: sizeText(file.size)})},
    icon('file'), text, icon('download'))
}

// One player for all voice messages: a second one ends the first, and it goes on when its node is scrolled away.
const player = new Audio()
let playing = null // its url
const shown = new Set()

player.preload = 'none'
for (const name of ['play', 'pause', 'ended', 'timeupdate', 'error']) player.addEventListener(name, () => shown.forEach((show) => show(name)))

/** Plays a voice message, or pauses it. */
export function toggleVoice(url) {
  if (playing !== url) {
    playing = url
    player.src = url
  } else if (!player.paused) {
    return player.pause()
  }
  player.play().catch(() => { /* 'error' says so */ })
}

/** Ends a voice message that is not there any more. */
export function endVoice(url) {
  if (playing !== url) return
  player.pause()
  player.removeAttribute('src')
  player.load()
  playing = null
}

function voice(file, url) {
  const time = el('span', {class: 'voice-time'}, durationText(file.duration))
  const bar = el('span', {class: 'voice-bar'}, el('span', {}))
  const button = el('button', {type: 'button', class: 'voice-play'}, icon('play'))
  const note = el('a', {class: 'voice-note', href: url, download: file.name, hidden: true}, t('cannot_play'))
  const node = el('div', {class: 'voice'}, el('div', {class: 'voice-row'}, button, bar, time), note)
  // Longer ones are wider, as the apps that people know show it.
  node.style.setProperty('--length', Math.min(1, file.duration / 60000))
  let is = null
  const show = (event) => {
    if (!node.isConnected && event !== 'first') return shown.delete(show) // scrolled away; a new node asks again
    const mine = playing === url
    const on = mine && !player.paused && !player.ended
    if (on !== is) {
      is = on
      button.replaceChildren(icon(on ? 'pause' : 'play'))
      button.setAttribute('aria-label', `${t(on ? 'pause' : 'play')} · ${t('voice_length', {time: durationText(file.duration)})}`)
      node.classList.toggle('on', on)
    }
    const at = mine && !player.ended ? player.currentTime * 1000 : 0
    bar.firstChild.style.width = Math.min(100, (100 * at) / file.duration) + '%'
    time.textContent = durationText(at > 0 ? at : file.duration)
    note.hidden = !(mine && player.error)
  }
  button.addEventListener('click', () => {
    shown.add(show)
    toggleVoice(url)
  })
  if (playing === url) shown.add(show)
  show('first')
  return node
}
