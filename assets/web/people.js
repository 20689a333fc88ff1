// Who is here, and who is writing.
import {$, el, avatar} from './dom.js'
import {t, lang, onLang} from './i18n.js'

const TYPING = 6000 // ms that a typing signal holds

export function makePeople(me) {
  let here = new Set()
  let typing = new Map() // name -> timer
  let due = 0

  /** Many may come at once, after a restart of the server: the list is drawn once for them. */
  function showSoon() {
    if (!due) due = setTimeout(show, 30)
  }

  function show() {
    due = clearTimeout(due)
    const n = here.size
    $('online-count').textContent = n
    $('online').setAttribute('aria-label', t('online', {n}))
    $('online').title = t('online', {n})
    $('people-title').textContent = n ? t('online', {n}) : t('nobody')
    $('me').textContent = me() || ''
    const order = [...here].sort((a, b) => (b === me()) - (a === me()) || a.localeCompare(b, lang()))
    const list = $('people-list')
    list.textContent = ''
    for (const name of order) {
      list.append(el('li', {}, avatar(name), el('span', {class: 'from', dir: 'auto'}, name),
        el('span', {class: 'hint'}, name === me() ? ' ' + t('this_is_you') : '')))
    }
    showTyping()
  }

  function showTyping() {
    const [a, b] = [...typing.keys()]
    $('typing').textContent = typing.size > 2 ? t('typing_many') : b ? t('typing_two', {a, b}) : a ? t('typing_one', {a}) : ''
  }

  function types(name, does) {
    clearTimeout(typing.get(name))
    typing.delete(name)
    if (does) typing.set(name, setTimeout(() => types(name, false), TYPING))
    showTyping()
  }

  onLang(show)
  return {
    types,
    /** All who are here: names, or objects with a user in them. */
    set(users) {
      here = new Set(users.map((u) => (typeof u === 'string' ? u : u.user)).filter(Boolean))
      show()
    },
    online(user, is) {
      if (is) here.add(user)
      else {
        here.delete(user)
        types(user, false)
      }
      showSoon()
    },
    clear() {
      for (const timer of typing.values()) clearTimeout(timer)
      typing = new Map()
      here = new Set()
      show()
    },
  }
}
