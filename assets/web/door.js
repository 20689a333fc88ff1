// The door: asks for a name, and for a token where the house wants one.
import {$, memory} from './dom.js'
import {t, onLang, roomTitle} from './i18n.js'
import {checkName} from './names.js'

/**
 * show(room, {refusal, wantsToken}) opens the door; enter({name} or {token}) is called by who comes in.
 * A refusal is a function, so that it follows a change of language. With `link` ({name, secret}, of the person's other
 * device) it asks before the name that this device has is given up for that one.
 */
export function makeDoor(enter) {
  let room = 'lobby'
  let complaint = () => ''
  let offered = null

  function complain(fn, field) {
    complaint = fn
    $('door-error').textContent = fn()
    if (!field) return
    field.setAttribute('aria-invalid', 'true')
    field.focus()
  }

  for (const id of ['name', 'token']) {
    $(id).addEventListener('input', () => {
      $(id).removeAttribute('aria-invalid')
      complain(() => '')
    })
  }

  $('door-form').addEventListener('submit', (e) => {
    e.preventDefault()
    if (!$('token-field').hidden) {
      const token = $('token').value.trim()
      return token ? enter({token}) : complain(() => t('token_needed'), $('token'))
    }
    const {name, wrong, n} = checkName($('name').value)
    if (wrong) return complain(() => t('name_' + wrong, {n}), $('name'))
    if (offered && offered.name === name) memory.set('secret', offered.secret)
    memory.set('name', name)
    enter({name})
  })

  const hint = () => (offered ? t('link_asks', {name: offered.name, had: memory.get('name')}) : t('entering', {room: roomTitle(room)}))

  onLang(() => {
    $('door-hint').textContent = hint()
    $('door-error').textContent = complaint()
  })

  return {
    show(toRoom, {refusal = () => '', wantsToken = false, link = null} = {}) {
      room = toRoom
      offered = link
      $('house').hidden = true
      $('door').hidden = false
      $('token-field').hidden = !wantsToken
      $('name-field').hidden = wantsToken // the token says who comes
      $('name').value = link ? link.name : $('name').value || memory.get('name')
      $('door-hint').textContent = hint()
      $('door-hint').hidden = wantsToken
      const field = wantsToken ? $('token') : $('name')
      complain(refusal, refusal() ? field : undefined)
      field.focus()
    },
    hide() {
      $('door').hidden = true
      $('house').hidden = false
    },
  }
}
