// The keys that work outside of the fields of the page: Space rolls the film or
// plays its recording, Ctrl+Z undoes, and / goes to the prompt. All others are
// passed on to the player.

// nodes: {prompt, line, play, watch}; dialogs: no key works while one is open;
// say: sends a direction
export function listenForKeys({ prompt, line, play, watch }, dialogs, player, say) {
  document.addEventListener('keydown', (event) => {
    const written = event.target.closest?.('input, textarea, select');
    const control = event.ctrlKey || event.metaKey;
    if (control && event.key.toLowerCase() === 'z' && !written) {
      event.preventDefault();
      say({ do: event.shiftKey ? 'redo' : 'undo' });
    }
    if (written || control || event.altKey) {
      // Escape leaves the prompt for the keys of the player.
      if (event.key === 'Escape' && event.target === prompt) line.focus();
      return;
    }
    if (event.defaultPrevented || dialogs.some((one) => one.open)) return;
    if (event.key === ' ' && event.target.closest?.('button, a')) return;
    // Away from the live head, Space plays or stops the recorded film.
    if (event.key === ' ') (player.live ? play : watch).click();
    else if (player.key(event)) return event.preventDefault();
    else if (event.key === '/') prompt.focus();
    else return;
    event.preventDefault();
  });
}
