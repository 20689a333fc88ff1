// Where one is: the address says it, so that the phone's back gesture, the browser's buttons and a link all work.
// On a phone the list of rooms lies below each room in the history.
import {LIST_HASH, readAddress} from './names.js'
import {$} from './dom.js'

/** show(place) shows {room}, {talk} or null. fallback() is the room of a wide page whose address names none. */
export function makeRoute({narrow, show, entered, fallback}) {
  let depth = 0 // entries above the list in the history

  const address = () => readAddress(location)
  const named = ({room, talk}) => !!(room || talk)

  function follow() {
    const place = address()
    $('house').dataset.view = named(place) ? 'talk' : 'rooms'
    if (named(place)) return show(place)
    show(narrow.matches ? null : readAddress({hash: fallback(), search: ''}))
  }

  function arrived() {
    if (!entered()) return
    if (history.state && history.state.depth >= 0) depth = history.state.depth
    else history.replaceState({depth: (depth = named(address()) ? depth + 1 : 0)}, '')
    follow()
  }

  /** A room under the list, as if one had come from there. */
  function above(hash) {
    history.replaceState({depth: 0}, '', location.pathname + LIST_HASH)
    history.pushState({depth: (depth = 1)}, '', hash)
  }

  const self = {
    go(hash) {
      if (location.hash === hash) return follow()
      location.hash = hash
    },
    /** Back to the list. */
    home() {
      if (depth > 0) return history.go(-depth)
      history.replaceState({depth: 0}, '', location.pathname + LIST_HASH)
      follow()
    },
    /** At the start. Who is new comes into a room, also on a phone. */
    begin(isNew) {
      const place = address()
      const kept = history.state && history.state.depth >= 0
      if (kept) depth = history.state.depth
      else if (!named(place) && (!isNew || !narrow.matches)) history.replaceState({depth: (depth = 0)}, '')
      else above(named(place) ? location.hash || hashOf(place) : fallback())
      if (kept && isNew && !named(place) && narrow.matches) above(fallback())
      follow()
    },
    again: follow,
    /** The room that the address names. */
    named: () => address().room || 'lobby',
  }

  const hashOf = (place) => '#room=' + encodeURIComponent(place.room)

  window.addEventListener('hashchange', arrived)
  window.addEventListener('popstate', () => { if (history.state && history.state.depth >= 0) depth = history.state.depth })
  const turned = () => entered() && follow()
  if (narrow.addEventListener) narrow.addEventListener('change', turned)
  else narrow.addListener(turned) // older Safari
  $('back').addEventListener('click', (e) => {
    e.preventDefault()
    self.home()
  })
  return self
}
