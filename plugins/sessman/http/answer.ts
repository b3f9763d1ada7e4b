import type { Session, SessionEntry } from '../sessions.js';

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

/**
 * RFC 3339, in UTC, with milliseconds: what toISOString gives, in a third of the time, of which a read spends a tenth
 * otherwise.
 */
export function timestamp(milliseconds: number): string {
  const day = Math.floor(milliseconds / msPerDay);
  const time = milliseconds - day * msPerDay;
  const hour = Math.floor(time / 3_600_000);
  const minute = Math.floor(time / 60_000) % 60;
  const second = Math.floor(time / 1000) % 60;
  return `${dateText(day)}T${twoDigits[hour]}:${twoDigits[minute]}:${twoDigits[second]}.${threeDigits[time % 1000]}Z`;
}

const msPerDay = 86_400_000;
const twoDigits = Array.from({ length: 60 }, (_, i) => String(i).padStart(2, '0'));
const threeDigits = Array.from({ length: 1000 }, (_, i) => String(i).padStart(3, '0'));

/** The times of most sessions lie in few days. */
const dateTexts = new Map<number, string>();
const maxDateTexts = 1000;

function dateText(day: number): string {
  let text = dateTexts.get(day);
  if (text === undefined) {
    text = new Date(day * msPerDay).toISOString().slice(0, -'T00:00:00.000Z'.length);
    if (dateTexts.size === maxDateTexts) dateTexts.clear();
    dateTexts.set(day, text);
  }
  return text;
}
