// A panel beside the talk: a sheet over it on a phone. One is open at a time. A docked one, where there is
// room for it, is always there.
import {$} from './dom.js'

let open = null

/** Lets `button` (or open()) open and close `panel`. opened() is called each time before; what it returns gets the focus, or the panel itself. */
export function makePanel(button, panel, opened = () => {}) {
  let from = button
  const self = {
    close(giveFocus = true) {
      if (open !== self) return
      open = null
      panel.hidden = true
      $('shade').hidden = true
      if (button) button.setAttribute('aria-expanded', 'false')
      if (giveFocus && from && from.isConnected) from.focus({preventScroll: true})
    },
    open() {
      if (getComputedStyle(panel).position === 'static') return panel.focus()
      if (open) open.close(false)
      from = button || document.activeElement
      open = self
      const first = opened() || panel
      panel.hidden = false
      $('shade').hidden = false
      if (button) button.setAttribute('aria-expanded', 'true')
      first.focus({preventScroll: true})
      panel.scrollTop = 0
    },
    toggle() {
      if (open === self) self.close()
      else self.open()
    },
  }
  if (button) button.addEventListener('click', self.toggle)
  panel.querySelector('.close').addEventListener('click', () => self.close())
  // Tab stays inside: what is behind is not to be reached.
  panel.addEventListener('keydown', (e) => {
    if (e.key !== 'Tab' || open !== self) return
    const inside = [...panel.querySelectorAll('a[href], button, input, select, textarea')].filter((n) => !n.disabled && n.offsetParent)
    const first = inside[0]
    const last = inside[inside.length - 1]
    const at = document.activeElement
    if (e.shiftKey ? at === first || at === panel : at === last) {
      e.preventDefault()
      const to = e.shiftKey ? last : first
      to.focus()
    }
  })
  return self
}

/** True if one was open. */
export function closePanel() {
  if (!open) return false
  open.close()
  return true
}

$('shade').addEventListener('click', closePanel)
