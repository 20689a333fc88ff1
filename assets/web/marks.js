// What stands before a message because of its neighbour: the day, the line above the new ones, what a reset was
// about. And whether it begins or ends a group of one sender.
import {el} from './dom.js'
import {t, dayName} from './i18n.js'

const GROUP = 5 * 60000 // ms: one sender's messages stand together if they are no further apart

const dayOf = (item) => {
  if (!item.day) item.day = new Date(item.at).toDateString()
  return item.day
}

const plain = (item) => item.kind === 'message' && !(item.body && item.body.recalled)

const isFresh = (item, room) => room.fresh && item.seq > room.fresh && !item.own

function begins(item, before, room) {
  return !before || before.from !== item.from || item.at - before.at > GROUP || dayOf(before) !== dayOf(item) ||
    !plain(before) || !plain(item) || (isFresh(item, room) && !isFresh(before, room))
}

/** Brings the marks of a mounted item up to date. True if anything changed. */
export function decorate(item, before, after, room) {
  const newDay = !before || dayOf(before) !== dayOf(item)
  const marks = {
    notice: item.notice ? item.notice() : '',
    day: newDay ? dayName(item.at) : '',
    fresh: isFresh(item, room) && !(before && before.seq > room.fresh && !before.own) ? t('fresh') : '',
    first: begins(item, before, room),
    last: !after || begins(after, item, room),
  }
  const {node} = item
  const had = item.marks || {}
  const changed = Object.keys(marks).filter((name) => marks[name] !== (had[name] || false) && (marks[name] || had[name]))
  if (!changed.length) return false
  item.marks = marks
  for (const name of changed) {
    if (name === 'first' || name === 'last') {
      node.classList.toggle(name, marks[name])
      continue
    }
    const old = node.querySelector(':scope > .' + name)
    if (old) old.remove()
    if (marks[name]) node.prepend(el('div', {class: name}, el('span', {}, marks[name])))
  }
  return true
}
