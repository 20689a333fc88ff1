// Where one writes.
import {$} from './dom.js'

const SAY_TYPING = 3000 // ms between two signals that one is writing

/** send(text) is called with what was written; typing(bool) now and then while it is. */
export function makeComposer({send, typing}) {
  const box = $('composer')
  let told = 0

  function fit() {
    $('send').disabled = !box.value.trim()
    box.style.height = 'auto'
    // At most what the style sheet allows; and nothing while the house is still hidden.
    if (box.scrollHeight) box.style.height = box.scrollHeight + 2 + 'px'
  }

  function tell(is) {
    const now = Date.now()
    if (is ? now - told < SAY_TYPING : !told) return
    told = is ? now : 0
    typing(is)
  }

  function submit() {
    const text = box.value.replace(/^\s*\n|\s+$/g, '') // an indent in the first line stays
    if (!text) return
    box.value = ''
    fit()
    told = 0 // the message itself says that the writing is over
    send(text)
    box.focus()
  }

  box.addEventListener('input', () => {
    fit()
    tell(box.value.trim() !== '')
  })
  box.addEventListener('blur', () => tell(false))
  box.addEventListener('keydown', (e) => {
    // An input method uses Enter to choose; 229 is how browsers say so that end composing before the key.
    if (e.key !== 'Enter' || e.shiftKey || e.isComposing || e.keyCode === 229) return
    e.preventDefault()
    submit()
  })
  // Some keyboards and remote controls send the line break as a key press of its own.
  box.addEventListener('keypress', (e) => { if (e.key === 'Enter' && !e.shiftKey) e.preventDefault() })
  // A tap on the button must not close the keyboard of a phone.
  $('send').addEventListener('pointerdown', (e) => e.preventDefault())
  $('composer-form').addEventListener('submit', (e) => {
    e.preventDefault()
    submit()
  })
  fit()
  return {focus: () => box.focus()}
}
