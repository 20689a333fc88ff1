// A scanner on the USB port is a keyboard that types very fast and presses Enter. It works wherever the focus is, also
// with an input method in Chinese mode, CapsLock, or a keyboard layout that is not the one it was set to.

const PAUSE = 3_000 // ms without a key: what was typed before belongs to something else
const FAST = 250 // ms without a key after a whole code: a scanner that presses no Enter
const SPEED = 60 // ms from key to key on average, which no hand types

/**
 * good(text) tells whether text is a whole code, read(text) is called with it; shown(text) with what is being typed
 * outside of field, the input for it. takes(element) tells which inputs' typing is their own. Returns the undo.
 */
export function listenToWedge({field, good, read, shown, takes}) {
  let letters = '' // what the keyboard's layout makes of the keys
  let places = '' // what the keys would be on the scanner's own, English one
  let first = 0
  let last = 0
  let timer = 0

  function clear() {
    letters = places = ''
    clearTimeout(timer)
  }

  const whole = () => [letters, places].find((text) => text && good(text))

  function done(text) {
    clear()
    shown('')
    read(text)
  }

  function onKey(e) {
    const inside = e.target === field
    if (takes(e.target) || e.ctrlKey || e.altKey || e.metaKey || e.repeat) return
    if (e.timeStamp - last > PAUSE) clear()
    if (/^(Numpad)?Enter$/.test(e.code) || e.code === 'Tab' || e.key === 'Enter') {
      // Some six letters that are no code: read() says what is wrong with them. The field's own form does so, too.
      const text = whole() || (!inside && letters.length > 5 ? letters : '')
      if (!text) return clear()
      e.preventDefault()
      e.stopPropagation()
      return done(text)
    }
    if (e.code === 'Backspace') {
      if (!inside && letters) shown('')
      return clear()
    }
    const letter = e.key.length === 1 ? e.key : ''
    const place = onEnglishKeyboard(e.code)
    if (!letter && !place) return
    if (!letters && !places) {
      if (letter === ' ') return // presses a button
      first = e.timeStamp
    }
    letters += letter
    places += place
    last = e.timeStamp
    if (!inside) shown(letters || places)
    clearTimeout(timer)
    timer = setTimeout(() => {
      const text = whole()
      if (text && (last - first) / (text.length - 1) < SPEED) done(text)
    }, FAST)
  }

  window.addEventListener('keydown', onKey, true)
  return () => window.removeEventListener('keydown', onKey, true)
}

function onEnglishKeyboard(code) {
  if (/^Key[A-Z]$/.test(code)) return code[3]
  if (/^(Digit|Numpad)\d$/.test(code)) return code[code.length - 1]
  return {Minus: '-', NumpadSubtract: '-', Period: '.', NumpadDecimal: '.', Space: ' '}[code] || ''
}
