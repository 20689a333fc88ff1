// Who is here, who is writing, and the card of a person.
import {$, el, avatar} from './dom.js'
import {t, lang} from './i18n.js'
import {talkHash} from './names.js'
import {makePanel, closePanel} from './panel.js'

export function makePeople(house) {
  let shown = '' // what the list was drawn of: it is drawn anew only when that changed
  let person = ''

  makePanel($('online'), $('people'))
  const panel = makePanel(null, $('person'))

  function card(name) {
    if (name === house.me()) return
    person = name
    const open = house.open()
    const here = open && open.present && open.present.has(name)
    $('person-face').replaceChildren(avatar(name))
    $('person-name').textContent = name
    $('person-sub').textContent = here ? t('is_here') : ''
    $('person-talk').href = talkHash(name)
    $('person-talk').hidden = !!open && open.kind === 'talk' && open.name === name
    $('person-mention').hidden = !open || open.kind === 'talk'
    panel.open()
  }

  $('person-mention').addEventListener('click', () => {
    closePanel()
    house.mention(person)
  })
  $('person-talk').addEventListener('click', () => closePanel())
  $('people-list').addEventListener('click', (e) => {
    const button = e.target.closest('button')
    if (button) card(button.dataset.name)
  })

  function show(room) {
    const here = room && room.present ? room.present : new Set()
    const n = here.size
    const label = n ? t('online', {n}) : t('nobody')
    $('online-count').textContent = n
    $('online').setAttribute('aria-label', t('online', {n})) // its own text is the number
    $('online').title = label
    $('people-title').textContent = label
    showSub(room, here, label)
    const me = house.me()
    const order = [...here].sort((a, b) => (b === me) - (a === me) || a.localeCompare(b, lang()))
    const state = JSON.stringify([lang(), me, order])
    if (state === shown) return
    shown = state
    $('people-list').replaceChildren(...order.map((name) => el('li', {},
      el('button', {type: 'button', class: 'row', data: {name}, disabled: name === me},
        avatar(name), el('span', {class: 'from', dir: 'auto'}, name), el('span', {class: 'hint'}, name === me ? t('this_is_you') : '')))))
  }

  function showSub(room, here, label) {
    const names = room ? [...room.typing.keys()] : []
    const [a, b] = names
    const typing = names.length > 2 ? t('typing_many') : b ? t('typing_two', {a, b}) : a ? t('typing_one', {a}) : ''
    setText($('typing'), typing)
    setText($('room-sub'), !room ? '' : room.kind === 'room' ? label : t(here.has(room.name) ? 'is_online' : 'is_away'))
    $('room-sub').classList.toggle('on', !!room && room.kind === 'talk' && here.has(room.name))
  }

  const setText = (node, text) => { if (node.textContent !== text) node.textContent = text }

  return {card, show}
}
