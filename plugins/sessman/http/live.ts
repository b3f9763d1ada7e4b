import { sessmanError } from '../errors.js';
import type { Sessions } from '../sessions.js';

/** The one id of a live session. Throws 404 where none is live, and 401 where several are. */
export async function liveId(sessions: Sessions, ids: readonly string[]): Promise<string> {
  const states = await Promise.all(ids.map((id) => isLive(sessions, id)));
  const [live, another] = ids.filter((_, i) => states[i]);
  if (live === undefined) throw sessmanError('session_not_found');
  if (another !== undefined) throw sessmanError('session_required');
  return live;
}

/** Whether the id is that of a live session. */
export async function isLive(sessions: Sessions, id: string): Promise<boolean> {
  try {
    await sessions.peek(id);
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'session_not_found') throw error;
    return false;
  }
}
