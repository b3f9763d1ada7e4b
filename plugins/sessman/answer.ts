import type { Session, SessionEntry } from './sessions.js';

/** A session as JSON text. The data's text goes in as it is stored: nothing is parsed to be written again. */
export function sessionJson(session: Session): string {
  const { id, userid, data, version, created, touched, expires } = session;
  return `{"session_id":"${id}","userid":${JSON.stringify(userid)},"data":${data},"version":${version},"created_at":"${timestamp(created)}","updated_at":"${timestamp(touched)}","expires_at":"${timestamp(expires)}"}`;
}

export function listJson(entries: readonly SessionEntry[]): object {
  return {
    sessions: entries.map(({ handle, created, touched, expires }) => ({
      handle,
      created_at: timestamp(created),
      updated_at: timestamp(touched),
      expires_at: timestamp(expires),
    })),
  };
}

/** RFC 3339, in UTC, with milliseconds. */
function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
