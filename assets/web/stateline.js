// The line that says how the connection is, and when it will be tried again.
import {$} from './dom.js'
import {t, onLang, why} from './i18n.js'

/** retry() is called by who does not want to wait. */
export function makeStateLine(retry) {
  let state = {name: 'connecting'}
  let ticking = 0

  function show() {
    const {name} = state
    $('state').dataset.state = name
    // A try between two waits does not make the line jump.
    if (name !== 'connecting' || !$('house').classList.contains('waiting')) {
      for (const other of ['connecting', 'live', 'waiting', 'closed']) $('house').classList.toggle(other, other === name)
    }
    const reason = name === 'closed' ? why({code: state.error, message: state.reason}) : ''
    setText($('state-text'), reason ? t('closed_because', {why: reason}) : t('state_' + name))
    $('retry').hidden = name !== 'waiting' && name !== 'closed'
    $('retry').textContent = t(name === 'closed' ? 'connect_again' : 'try_now')
    tick()
  }

  // The seconds stand apart from the text, so that a screen reader does not count along.
  function tick() {
    const left = Math.ceil((state.at - Date.now()) / 1000)
    const waiting = state.name === 'waiting'
    $('state-count').textContent = !waiting ? '' : left > 0 ? t('state_in', {n: left}) : t('state_now')
    if (waiting && !ticking) ticking = setInterval(tick, 250)
    if (!waiting) ticking = clearInterval(ticking)
  }

  const setText = (node, text) => { if (node.textContent !== text) node.textContent = text }

  $('retry').addEventListener('click', retry)
  onLang(show)
  return {
    set(next) {
      state = next
      show()
    },
  }
}
