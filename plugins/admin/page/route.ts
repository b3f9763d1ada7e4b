import { useEffect, useState } from 'preact/hooks';

export const VIEWS = ['overview', 'plugins', 'sessions', 'problems'] as const;
export type View = (typeof VIEWS)[number];

/** The view that the address names: `#/plugins`. */
export function useView(): View {
  const [view, setView] = useState(viewOf(location.hash));
  useEffect(() => {
    const follow = () => setView(viewOf(location.hash));
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  return view;
}

function viewOf(hash: string): View {
  return VIEWS.find((view) => hash === `#/${view}`) ?? 'overview';
}
