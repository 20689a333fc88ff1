// Whom one calls: names of the room are offered behind an @.
import {el, avatar} from './dom.js'
import {t, onLang} from './i18n.js'

const MOST = 6

/**
 * Offers names over the text field `box`. names() are those of the room. taken() is called after one was put in.
 * Returns {key(event) -> bool, close()}: key() says whether it used the key.
 */
export function makeMentions(box, list, names, taken) {
  let found = []
  let at = 0 // the chosen one
  let start = -1 // where the @ stands

  onLang(() => list.setAttribute('aria-label', t('people_to_call')))

  function look() {
    const caret = box.selectionStart
    const before = box.value.slice(0, caret)
    const m = box.selectionEnd === caret && /(?:^|[^\w.+-])@([^\s@]{0,64})$/u.exec(before)
    if (!m) return close()
    start = caret - m[1].length - 1
    const part = m[1].toLocaleLowerCase()
    const score = (n) => (n.toLocaleLowerCase().startsWith(part) ? 0 : 1)
    found = names().filter((n) => n.toLocaleLowerCase().includes(part)).sort((a, b) => score(a) - score(b) || a.localeCompare(b)).slice(0, MOST)
    if (!found.length || (found.length === 1 && found[0] === m[1])) return close()
    at = 0
    show()
  }

  function show() {
    list.textContent = ''
    found.forEach((name, i) => {
      const entry = el('li', {role: 'option', id: 'mention-' + i, 'aria-selected': String(i === at)}, avatar(name), el('span', {dir: 'auto'}, name))
      // Before the field loses the focus, and with it a phone's keyboard.
      entry.addEventListener('pointerdown', (e) => e.preventDefault())
      entry.addEventListener('click', () => take(name))
      list.append(entry)
    })
    list.hidden = false
    box.setAttribute('aria-activedescendant', 'mention-' + at)
  }

  function take(name) {
    const caret = box.selectionStart
    const rest = box.value.slice(caret)
    const put = '@' + name + (/^\s/.test(rest) ? '' : ' ')
    box.setRangeText(put, start, caret, 'end')
    close()
    taken(name)
    box.focus()
  }

  function close() {
    found = []
    list.hidden = true
    list.textContent = ''
    box.removeAttribute('aria-activedescendant')
  }

  box.addEventListener('input', look)
  box.addEventListener('click', look)
  box.addEventListener('blur', close)

  return {
    close,
    key(e) {
      if (!found.length) return false
      const step = {ArrowDown: 1, ArrowUp: -1}[e.key]
      if (step) {
        at = (at + step + found.length) % found.length
        show()
      } else if (e.key === 'Enter' || e.key === 'Tab') {
        take(found[at])
      } else if (e.key === 'Escape') {
        close()
      } else {
        return false
      }
      e.preventDefault()
      e.stopPropagation()
      return true
    },
  }
}
