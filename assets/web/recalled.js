// What one took back oneself, for a while: so that it can be written anew.

const KEPT = 5 * 60000
const NAME = 'teahouse.recalled'

function all() {
  try {
    const list = JSON.parse(sessionStorage.getItem(NAME) || '[]')
    return Array.isArray(list) ? list.filter((r) => r && Date.now() - r.at < KEPT) : []
  } catch (err) {
    return []
  }
}

/** Keeps the text of a message that is being taken back. */
export function rememberRecalled(topic, seq, text) {
  const list = all().filter((r) => r.topic !== topic || r.seq !== seq)
  if (text) list.push({topic, seq, text, at: Date.now()})
  try {
    sessionStorage.setItem(NAME, JSON.stringify(list.slice(-20)))
  } catch (err) { /* then it cannot be edited again */ }
}

/** The text of it, or ''. */
export function editable(room, seq) {
  const found = room && all().find((r) => r.topic === room.topic && r.seq === seq)
  return found ? found.text : ''
}
