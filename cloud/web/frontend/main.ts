// On every page: htmx with server-sent events, the stale-data banner, relative times, field counters, theme.
import "htmx.org";
import "htmx.org/dist/ext/hx-sse.js";
import { startCounters } from "./counter";
import { startFragments } from "./fragment";
import { startLiveness } from "./liveness";
import { startPasswords } from "./password";
import { startRobots } from "./robot";
import { startSelfcheck } from "./selfcheck";
import { startStates } from "./state";
import { startScreen } from "./screen";
import { startTheme } from "./theme";
import { startTimes } from "./times";
import { startZones } from "./zone";

startTheme();
startCounters();
startTimes();
startLiveness();
startScreen();
startRobots();
startPasswords();
startStates();
startFragments();
startZones();
startSelfcheck();
