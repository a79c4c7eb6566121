// What the steps of the Thunderbird test share. It stands before each of them.
const {MailServices} = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const {setTimeout} = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const pause = ms => new Promise(r => setTimeout(r, ms));
const flag = Ci.nsMsgFolderFlags;

// Waits until look() gives something.
async function wait(what, look, ms = 15000) {
  const end = Date.now() + ms;
  for (;;) {
    let got, failure;
    try { got = await look(); } catch (e) { failure = e; }
    if (got) return got;
    if (Date.now() > end) throw new Error("waited " + ms + " ms for " + what + (failure ? ": " + failure : ""));
    await pause(100);
  }
}

const mainWindow = () => Services.wm.getMostRecentWindow("mail:3pane");
const messageWindow = () => mainWindow().msgWindow;
const pane = () => mainWindow().document.getElementById("tabmail").currentAbout3Pane;
const dialog = () => [...Services.wm.getEnumerator(null)].find(w => w.location.href.includes("commonDialog"));
const ann = () => MailServices.accounts.accounts.find(a => a.incomingServer.type == "imap");
const server = () => ann().incomingServer.QueryInterface(Ci.nsIImapIncomingServer);
const root = () => server().QueryInterface(Ci.nsIMsgIncomingServer).rootFolder;

// A folder by its path, null if Thunderbird does not know it.
function folder(path) {
  let at = root();
  for (const name of path.split("/")) {
    at = at.subFolders.find(f => f.name.toLowerCase() == name.toLowerCase());
    if (!at) return null;
  }
  return at.QueryInterface(Ci.nsIMsgImapMailFolder);
}
const messages = f => [...f.messages];
const bySubject = (f, text) => messages(f).find(h => h.mime2DecodedSubject.includes(text));

// An object with a promise that is kept when Thunderbird says that it is done.
function listener(kind, stop) {
  const l = {QueryInterface: ChromeUtils.generateQI([kind])};
  for (const n of ["onStartCopy", "onProgress", "setMessageKey", "getMessageId", "OnStartRunningUrl"]) l[n] = () => null;
  l.done = new Promise((yes, no) => { l[stop] = (...a) => { const s = a.at(-1); Components.isSuccessCode(s) ? yes() : no(new Error("status " + (s >>> 0).toString(16))); }; });
  return l;
}
const urlListener = () => listener("nsIUrlListener", "OnStopRunningUrl");
const copyListener = () => listener("nsIMsgCopyServiceListener", "onStopCopy");

// Looks at a folder on the server. When another look is on its way, its end is not told: hence no more than a while.
async function refresh(f) {
  const l = urlListener();
  try { f.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(messageWindow(), l); await Promise.race([l.done, pause(4000)]); } catch { await pause(500); }
}
async function discover() { server().performExpand(messageWindow()); await pause(500); }

// Shows a message as a click on its row does.
async function open(f, subject) {
  pane().displayFolder(f.URI);
  await wait("the folder to show", () => pane().gFolder?.URI == f.URI && pane().gDBView);
  const h = await wait("the message", () => bySubject(f, subject));
  const row = await wait("its row", () => { const i = pane().gDBView.findIndexOfMsgHdr(h, true); return i < 0xffffffff && {i}; });
  pane().threadTree.selectedIndex = row.i;
  const shown = pane().messageBrowser.contentWindow;
  await wait("the message to show", () => shown.gMessage?.messageKey == h.messageKey && shown.msgLoaded !== false);
  return shown;
}
