// A menu that pops up: one at a time. By mouse, touch and keyboard; the focus goes back to where it was.
import {$, el, icon} from './dom.js'

let menu = null
let before = null // what had the focus
let width = 0 // of the window

/**
 * @param {{icon: string, label: string, act: () => void, grave?: boolean}[]} entries
 * @param {{x: number, y: number, label: string, title?: string}} where in pixels of the window.
 *   title: a line above the entries
 */
export function openMenu(entries, {x, y, label, title = ''}) {
  closeMenu(false)
  before = document.activeElement
  menu = el('div', {id: 'menu', class: 'menu', role: 'menu', 'aria-label': label})
  if (title) menu.append(el('p', {class: 'menu-title', role: 'presentation'}, title))
  for (const {icon: name, label: text, act, grave} of entries) {
    const entry = el('button', {type: 'button', role: 'menuitem', tabIndex: -1, class: grave ? 'grave' : ''}, icon(name), el('span', {}, text))
    entry.addEventListener('click', () => {
      closeMenu()
      act()
    })
    menu.append(entry)
  }
  // The key that opened it may still be on its way as a key press: it chooses nothing.
  let armed = false
  menu.addEventListener('keydown', () => { armed = true })
  menu.addEventListener('keypress', (e) => { if (!armed) e.preventDefault() })
  menu.addEventListener('keydown', onKey)
  $('house').append(menu)
  // Where it was asked for, but within the window.
  const box = menu.getBoundingClientRect()
  const gap = 8
  width = window.innerWidth
  menu.style.left = Math.max(gap, Math.min(x, width - box.width - gap)) + 'px'
  menu.style.top = Math.max(gap, y + box.height + gap > window.innerHeight ? y - box.height : y) + 'px'
  entriesOf()[0].focus({preventScroll: true})
  setTimeout(() => { // not the press that opened it
    document.addEventListener('pointerdown', outside, true)
    window.addEventListener('resize', turned)
    window.addEventListener('blur', gone)
  })
}

export function closeMenu(giveFocus = true) {
  if (!menu) return
  const was = menu
  menu = null
  document.removeEventListener('pointerdown', outside, true)
  window.removeEventListener('resize', turned)
  window.removeEventListener('blur', gone)
  const held = was.contains(document.activeElement)
  was.remove()
  if (giveFocus && held && before && before.isConnected) before.focus({preventScroll: true})
}

export const menuIsOpen = () => menu !== null

const entriesOf = () => [...menu.querySelectorAll('[role=menuitem]')]
const gone = () => closeMenu(false)
// A phone's keyboard goes when the menu takes the focus: that changes the height, and means nothing.
const turned = () => window.innerWidth !== width && gone()

function outside(e) {
  if (menu && !menu.contains(e.target)) closeMenu()
}

function onKey(e) {
  const entries = entriesOf()
  const at = entries.indexOf(document.activeElement)
  const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1}[e.key]
  if (to !== undefined) {
    entries[(to + entries.length) % entries.length].focus()
  } else if (e.key === 'Escape' || e.key === 'Tab') {
    closeMenu()
  } else {
    return
  }
  e.preventDefault()
  e.stopPropagation()
}
