/** The one box: the question, how to answer it, where to look, and when it is asked about. */
import { useEffect, useId, useRef, useState } from "react";
import { KINDS, type Kind, type Mode, USUAL, type Wish } from "./asked";
import { WhenPicker } from "./when";

const MODES: { mode: Mode; name: string; title: string }[] = [
  { mode: "fast", name: "Fast", title: "An answer in seconds, every sentence checked" },
  {
    mode: "deep",
    name: "Deep",
    title: "Searches in several directions and writes a report; takes minutes",
  },
  { mode: "extract", name: "Extract", title: "Only the sources' own words, no language model" },
];
const KIND_NAMES: Record<Kind, string> = { web: "Web", posts: "Posts", files: "Files" };

interface ComposerProps {
  onAsk: (question: string, wish: Wish) => void;
  onStop?: (() => void) | undefined;
  busy?: boolean;
  initial?: string;
  wish?: Wish;
  autoFocus?: boolean;
  followUp?: boolean;
  onWish?: (wish: Wish) => void;
  onCancel?: () => void;
}

export function Composer(props: ComposerProps) {
  const { onAsk, onStop, busy, initial = "", autoFocus, followUp, onWish, onCancel } = props;
  const [text, setText] = useState(initial);
  const [wish, setOwnWish] = useState<Wish>(props.wish ?? USUAL);
  const box = useRef<HTMLTextAreaElement>(null);
  const id = useId();
  const setWish = (next: Wish) => {
    setOwnWish(next);
    onWish?.(next);
  };
  useEffect(() => {
    if (autoFocus) box.current?.focus({ preventScroll: true });
  }, [autoFocus]);
  const send = () => {
    const question = text.trim();
    if (!question || busy) return;
    setText("");
    onAsk(question, wish);
  };
  const toggle = (kind: Kind) => {
    const kinds = KINDS.filter((each) => (each === kind) !== wish.kinds.includes(each));
    // At least one must be left to look at.
    setWish({ ...wish, kinds: kinds.length ? kinds : KINDS });
  };
  return (
    <form
      className={`composer ${wish.when.kind === "now" ? "" : "past"}`}
      autoComplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <label className="sr" htmlFor={id}>
        Question
      </label>
      <textarea
        id={id}
        ref={box}
        className="question"
        rows={1}
        maxLength={20_000}
        enterKeyHint="go"
        placeholder={followUp ? "Ask a follow-up" : "Ask what is happening"}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
            event.preventDefault();
            send();
          } else if (event.key === "Escape" && onCancel) onCancel();
        }}
      />
      <div className="choices">
        <fieldset className="modes">
          <legend className="sr">How to answer</legend>
          {MODES.map(({ mode, name, title }) => (
            <label key={mode} title={title}>
              <input
                type="radio"
                name={`${id}-mode`}
                checked={wish.mode === mode}
                onChange={() => setWish({ ...wish, mode })}
              />
              <span>{name}</span>
            </label>
          ))}
        </fieldset>
        <fieldset className="kinds">
          <legend className="sr">Where to look</legend>
          {KINDS.map((kind) => (
            <label key={kind}>
              <input
                type="checkbox"
                checked={wish.kinds.includes(kind)}
                onChange={() => toggle(kind)}
              />
              <span>{KIND_NAMES[kind]}</span>
            </label>
          ))}
        </fieldset>
        <WhenPicker when={wish.when} onChange={(when) => setWish({ ...wish, when })} />
        <span className="spacer" />
        {onCancel && (
          <button type="button" className="quiet" onClick={onCancel}>
            Cancel
          </button>
        )}
        {busy && onStop ? (
          <button type="button" className="primary stop" onClick={onStop}>
            Stop
          </button>
        ) : (
          <button type="submit" className="primary" disabled={!text.trim()}>
            Ask
          </button>
        )}
      </div>
    </form>
  );
}
