// A panel beside the talk: a sheet over it on a phone. One is open at a time. A docked one, where there is
// room for it, is always there.
import {$} from './dom.js'

let open = null

/** Lets `button` open and close `panel`; calls opened() each time it opens. */
export function makePanel(button, panel, opened = () => {}) {
  const self = {
    close(giveFocus = true) {
      if (open !== self) return
      open = null
      panel.hidden = true
      $('shade').hidden = true
      button.setAttribute('aria-expanded', 'false')
      if (giveFocus) button.focus()
    },
    toggle() {
      if (getComputedStyle(panel).position === 'static') return panel.focus()
      if (open === self) return self.close()
      if (open) open.close(false)
      open = self
      panel.hidden = false
      $('shade').hidden = false
      button.setAttribute('aria-expanded', 'true')
      panel.focus()
      opened()
    },
  }
  button.addEventListener('click', self.toggle)
  panel.querySelector('.close').addEventListener('click', () => self.close())
  return self
}

export const closePanel = () => open && open.close()

document.addEventListener('keydown', (e) => e.key === 'Escape' && closePanel())
$('shade').addEventListener('click', closePanel)
