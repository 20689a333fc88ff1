// Files that are about to be sent: chosen, pasted, dropped or photographed; shown small, with their size.
import {$, el, icon} from './dom.js'
import {t, onLang} from './i18n.js'
import {box} from './body.js'
import {sizeText} from './links.js'
import {isPicture, readPicture, readFilm} from './picture.js'
import {largestFile} from './upload.js'
import {openMenu} from './menu.js'

const MOST = 9 // at once
const TILE = 88 // px

/** complain(text) says what was wrong; changed() is called when there are more or fewer. */
export function makeAttach(ctx, {complain, changed}) {
  const tray = $('tray')
  let items = []

  async function add(files) {
    const wrong = []
    const most = await largestFile(ctx.token())
    const room = ctx.room()
    if (!room) return
    let left = MOST - items.length
    for (const file of files) {
      const name = file.name || pastedName(file)
      if (most === 0) wrong.push(t('files_off'))
      else if (left <= 0) wrong.push(t('files_many', {max: MOST}))
      else if (!file.size) wrong.push(t('file_empty', {name}))
      else if (file.size > most) wrong.push(t('file_too_large', {name, size: sizeText(file.size), max: sizeText(most)}))
      else {
        left--
        put(file, name)
      }
    }
    complain([...new Set(wrong)].join('\n'))
    changed()
  }

  function put(file, name) {
    const url = URL.createObjectURL(file)
    const item = {blob: file, url, thumb: null, about: {name, type: file.type || '', size: file.size}}
    const face = el('span', {class: 'tile-face'}, icon('file'))
    const remove = el('button', {type: 'button', class: 'tile-remove'}, icon('close'))
    item.node = el('li', {class: 'tile'}, face, el('span', {class: 'tile-name', dir: 'auto'}, name), el('span', {class: 'tile-size'}, sizeText(file.size)), remove)
    item.label = () => {
      remove.setAttribute('aria-label', t('remove_file', {name}))
      remove.title = t('remove_file', {name})
    }
    item.label()
    remove.addEventListener('click', () => {
      take(item)
      URL.revokeObjectURL(url)
      changed()
      $('composer').focus()
    })
    item.ready = read(item, face)
    items.push(item)
    tray.append(item.node)
  }

  async function read(item, face) {
    const {blob, url, about} = item
    const show = (what) => {
      const {width, height} = box(about, TILE, TILE)
      Object.assign(what, {width, height})
      face.replaceChildren(what)
    }
    try {
      if (isPicture(blob)) {
        const {width, height, thumb} = await readPicture(blob, url)
        Object.assign(about, {width, height})
        item.thumb = thumb
        show(el('img', {src: url, alt: ''}))
      } else if (/^video\//.test(blob.type)) {
        const {width, height, duration, thumb} = await readFilm(url)
        if (width) Object.assign(about, {width, height})
        if (duration) about.duration_ms = duration
        item.thumb = thumb
        if (thumb) show(el('img', {src: URL.createObjectURL(thumb), alt: '', onload() { URL.revokeObjectURL(this.src) }}))
      } else if (/^audio\//.test(blob.type)) {
        face.replaceChildren(icon('play'))
      }
    } catch (err) {
      // It says that it is a picture and is none that this browser knows: sent as it is.
      face.replaceChildren(icon('file'))
    }
  }

  function take(item) {
    items = items.filter((i) => i !== item)
    item.node.remove()
    tray.hidden = !items.length
  }

  function pastedName(file) {
    const two = (n) => String(n).padStart(2, '0')
    const d = new Date()
    const end = {'image/jpeg': 'jpg', 'image/svg+xml': 'svg'}[file.type] || (file.type.split('/')[1] || 'bin').replace(/\W.*/, '')
    return `${t('picture')}-${d.getFullYear()}${two(d.getMonth() + 1)}${two(d.getDate())}-${two(d.getHours())}${two(d.getMinutes())}${two(d.getSeconds())}.${end}`
  }

  // Choosing. A phone has more places to take a file from.
  function choose(id) {
    $(id).value = '' // the same file again is a choice too
    $(id).click()
  }
  const coarse = window.matchMedia ? matchMedia('(hover: none) and (pointer: coarse)') : {matches: false}
  $('attach').addEventListener('click', () => {
    if (!coarse.matches) return choose('pick-file')
    const {left, top} = $('attach').getBoundingClientRect()
    const entries = [
      {icon: 'picture', label: t('from_album'), act: () => choose('pick-picture')},
      {icon: 'camera', label: t('take_photo'), act: () => choose('pick-camera')},
      {icon: 'file', label: t('choose_file'), act: () => choose('pick-file')},
    ]
    // Without leave for the microphone (a page without https) the phone's own recorder is left.
    if ($('record').hidden) entries.push({icon: 'mic', label: t('record_by_phone'), act: () => choose('pick-sound')})
    openMenu(entries, {x: left, y: top - 8, label: t('attach')})
  })
  for (const id of ['pick-file', 'pick-picture', 'pick-camera', 'pick-sound']) {
    $(id).addEventListener('change', () => add([...$(id).files]))
  }

  // Pasting. Office programs add a picture of the text that is meant.
  $('composer').addEventListener('paste', (e) => {
    const data = e.clipboardData
    if (!data || !data.files.length || [...data.types].includes('text/plain')) return
    e.preventDefault()
    add([...data.files].map((f) => (/^image\.\w+$/.test(f.name) ? new File([f], pastedName(f), {type: f.type}) : f)))
  })

  // Dragging.
  const talk = $('talk')
  const sheet = el('div', {class: 'drop', id: 'drop', hidden: true})
  talk.append(sheet)
  let depth = 0
  const withFiles = (e) => e.dataTransfer && [...e.dataTransfer.types].includes('Files') && ctx.room()
  const over = (is) => { sheet.hidden = !is }
  talk.addEventListener('dragenter', (e) => {
    if (!withFiles(e)) return
    e.preventDefault()
    depth++
    over(true)
  })
  talk.addEventListener('dragover', (e) => {
    if (!withFiles(e)) return
    e.preventDefault()
    e.dataTransfer.dropEffect = 'copy'
  })
  talk.addEventListener('dragleave', (e) => {
    if (!withFiles(e)) return
    depth = Math.max(0, depth - 1)
    if (!depth) over(false)
  })
  talk.addEventListener('drop', (e) => {
    if (!withFiles(e)) return
    e.preventDefault()
    depth = 0
    over(false)
    const folder = [...e.dataTransfer.items].some((i) => {
      const entry = i.webkitGetAsEntry && i.webkitGetAsEntry()
      return entry && entry.isDirectory
    })
    if (folder) return complain(t('no_folder'))
    add([...e.dataTransfer.files])
    $('composer').focus()
  })

  onLang(() => {
    sheet.textContent = t('drop_here')
    items.forEach((i) => i.label())
  })

  return {
    add,
    get size() { return items.length },
    /** All that is there, read and measured; the tray is empty then. */
    async takeAll() {
      const all = items
      items = []
      tray.textContent = ''
      tray.hidden = true
      await Promise.all(all.map((i) => i.ready))
      return all
    },
    /** Another room is opened: what was about to be sent stays with the first one. */
    swap(next) {
      const was = items
      items = next || []
      tray.replaceChildren(...items.map((i) => i.node))
      tray.hidden = !items.length
      return was
    },
    show() { tray.hidden = !items.length },
  }
}
