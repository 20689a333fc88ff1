// Calls of the staff page to the server's API.
import {lang} from './i18n.js'

const PATIENCE = 10_000 // ms until a call without an answer counts as unanswered

/** What a call failed with: code is the server's, or 'unreachable'; problem is all that the server said. */
export class Refused extends Error {
  constructor(code, status = 0, problem = {}) {
    super(problem.detail || code)
    this.code = code
    this.status = status
    this.problem = problem
  }
}

let ahead = 0 // ms by which the server's clock is ahead of this one's

/** The server's clock, as far as it is known: to a second. */
export const serverNow = () => Math.round(Date.now() + ahead)

/** Answers the JSON of a POST to /api/v1/PATH, or throws a Refused. */
export async function call(path, body, token) {
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(), PATIENCE)
  const headers = {'Content-Type': 'application/json', 'Accept-Language': lang()}
  if (token) headers.Authorization = 'Bearer ' + token
  try {
    const asked = Date.now()
    const response = await fetch('/api/v1/' + path, {method: 'POST', headers, body: JSON.stringify(body), signal: abort.signal, credentials: 'omit', cache: 'no-store'})
    const date = Date.parse(response.headers.get('Date'))
    if (date) ahead = date + 500 - (asked + Date.now()) / 2
    const answer = await response.json()
    if (response.ok) return answer
    // A proxy that cannot reach the server answers as well, but not with a code of ours.
    throw new Refused(answer.code || 'unreachable', response.status, answer)
  } catch (err) {
    throw err instanceof Refused ? err : new Refused('unreachable')
  } finally {
    clearTimeout(timer)
  }
}
