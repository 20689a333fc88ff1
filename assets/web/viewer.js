// A picture as large as the window allows.
import {el, icon} from './dom.js'
import {t} from './i18n.js'

let open = null

/** @param {{url: string, name: string}} picture */
export function showPicture({url, name}) {
  closePicture()
  const before = document.activeElement
  const image = el('img', {class: 'viewer-image', alt: name})
  const wait = el('p', {class: 'viewer-wait', role: 'status'})
  const close = el('button', {type: 'button', class: 'tool', 'aria-label': t('close_viewer'), title: t('close_viewer')}, icon('close'))
  const save = el('a', {class: 'tool', href: url, download: name, 'aria-label': t('download'), title: t('download')}, icon('download'))
  const sheet = el('div', {id: 'viewer', class: 'viewer', role: 'dialog', 'aria-modal': 'true', 'aria-label': t('viewer', {name}), tabIndex: -1},
    el('header', {}, el('span', {class: 'viewer-name', dir: 'auto'}, name), save, close), el('div', {class: 'viewer-stage'}, image, wait))
  image.addEventListener('error', () => { wait.textContent = t('picture_bad') })
  image.src = url
  close.addEventListener('click', closePicture)
  sheet.addEventListener('click', (e) => { if (!e.target.closest('header')) closePicture() })
  sheet.addEventListener('keydown', (e) => {
    if (e.key === 'Escape') {
      e.stopPropagation()
      closePicture()
    } else if (e.key === 'Tab') { // the focus stays within: there are two places for it
      e.preventDefault()
      const next = document.activeElement === close ? save : close
      next.focus()
    }
  })
  document.body.append(sheet)
  open = {sheet, before}
  close.focus()
}

export function closePicture() {
  if (!open) return
  const {sheet, before} = open
  open = null
  sheet.remove()
  if (before && before.isConnected) before.focus({preventScroll: true})
}
