r"""The patterns of automatic replies, as data: (points, patterns) per family, and the cue words.

Lives here: wording. Keep out: how it is summed (`automatic_replies`). Texts are matched lower-cased,
with one space for any white space, plain apostrophes and hyphens, quotations taken out; the
regexes are Rust's. Write gaps as [^.!?]{0,n}: a sign lies within one sentence.
"""

from __future__ import annotations

_GAP = r"[^.!?]{0,60}"
_START = r"^(?:(?:re|aw|fw|fwd|subject|betreff|objet|asunto): ?|[^\p{L}\p{N}])*"
_DATE = (
    r"(?:(?:the )?\d{1,2}(?:st|nd|rd|th)?\b|mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
    r"|tomorrow|next|further notice|(?:the )?(?:beginning|end|start|middle) of|early|mid|late)"
)
_MAIL = (
    r"(?:e-?mails?|mails?|messages?|notes?|enquir(?:y|ies)|inquir(?:y|ies)|requests?|tickets?|submissions?)"
)
_IM = r"\b(?:i(?:'m| am| will be|'ll be)|we(?:'re| are| will be|'ll be))(?: (?:now|currently|presently|away|already|unfortunately|still|temporarily|also|taking|off|out))*"
_BOX = r"(?:mailbox|inbox|e-?mail (?:address|account)|address|mail account|e-?mail)"

FOR: tuple[tuple[int, tuple[str, ...]], ...] = (
    (4, (  # says that it is automatic
        r"\bthis (?:is|was) an? (?:auto(?:mated|matic|matically|-?generated|-?reply|-?response)|(?:computer|system|machine)[- ]generated)",
        r"\bthis (?:note|message|mail|e-?mail|reply|answer|response|confirmation|notice|notification|acknowledge?ment)"
        r" (?:was|is|has been) (?:being )?(?:(?:sent|generated|created|issued|produced|triggered)(?: out| to you)? (?:automatically|by (?:an? |my |our |the )?(?:auto|mail|e-?mail|computer|system|machine|program|server|robot|bot))|(?:auto(?:matically|-))\w* ?(?:sent|generated|created|issued|produced))",
        r"\(auto-?\s?(?:responder|reply|response|generated|matic reply|matic response|mated reply|mated response)\)",
        r"(?:^|[.!)*] ?)auto(?:-|matically )generated\b",
        r"\bautomated (?:response|reply|acknowledge?ment) (?:to (?:confirm|let you know|acknowledge)|from)\b",
    )),
    (4, (  # opens with the header of an absence note
        _START + r"(?:automatic|auto|automated)[- ]?(?:reply|response|responder|answer|message|confirmation|acknowledge?ment) ?(?:[:\-]|$|re:|from )",
        _START + r"out[- ]of[- ](?:the[- ])?office(?:[- ](?:auto-?)?(?:reply|response|message|notice|notification|alert|re))? ?[:\-.!]",
    )),
    (2, (
        _START + r"(?:auto|noreply|no-reply|do-?not-?reply|ooo) ?[:\-]",
        _START + r"(?:vacation|holiday|absence|away|leave|closure)[- ](?:notice|note|message|reply|response|notification|alert) ?[:\-.!]",
        r"\bcurrently out[- ]of[- ](?:the[- ])?office\b",
    )),
    (3, (  # the writer is away from work
        _IM + r" (?:(?:out of|away from) (?:the |my )?(?:office|desk)|on (?:(?:my|a|an|extended|short|long)[ -])*(?:(?:annual|parental|maternity|paternity|sick|medical|study|family|bereavement|compassionate)[ -])+leave|not (?:in|at) (?:the office|my desk))",
    )),
    (2, (  # the writer is away, as a customer may be too
        _IM + r" (?:(?:out of) (?:town|the country|country)|away(?: (?:until|from|on|at|for|between|through|and|with)|[.,!])|on (?:(?:my|a|an|business|family|extended|short|long|summer|winter|christmas|easter)[ -])*(?:leave|vacation|holidays?|trip|sabbatical|break|jury duty|parental duties|military service)|travell?ing(?: (?:until|from|between|for (?:work|business)|and (?:will|may|have)|with)|[.,])|(?:at|attending|in) (?:an? )(?:\w+ )?(?:training|conference|trade|fair|workshop|seminar|course|meeting)|not at work|unavailable|(?:off )?(?:work|sick|ill) |until )",
        r"\b(?:out|away|absent|unavailable|on leave|on holiday|on vacation)[^.!?]{0,30} (?:until|through|till) " + _DATE,
        r"\bi (?:no longer work (?:at|for|here|with)|(?:have )?left (?:the (?:company|firm|organi[sz]ation|team)))|\b(?:is|am) no longer (?:with|employed (?:at|by|with)) (?:us|the|this|our)",
        r"\bi (?:only )?work (?:part[- ]time|(?:only )?(?:on )?(?:mon|tues|wednes|thurs|fri)days? (?:to|and|through|until))|\bmy (?:working|office) (?:days|hours) are\b",
        r"\bwe(?:'re| are|'ll be| will be)(?: now| currently)? (?:closed|shut|on holiday) (?:for|from|until|till|between|over|through|on|today)",
        r"\b(?:our|the) (?:office|offices|practice|shop|store|workshop|studio|company|team|school|business|salon)s? (?:is|are|will be|will remain)(?: now| currently)? (?:closed|shut|on holiday)[^.!?]{0,40} (?:from|until|till|between|through|and reopen|for (?:the|our|two|three|one|a|easter|christmas))",
    )),
    (1, (  # when the writer is back
        r"\b(?:when|once|as soon as|until|after) i(?:'m| am| will| have| get)?(?: be)? (?:back|return(?:ed)?)\b|\b(?:upon|on|after|following) my return\b",
        r"\b(?:(?:i|we)(?:'ll| will| shall)?(?: be)? |and (?:will )?(?:be )?|,|[.!]) ?(?:return|returning|back)(?: again)?(?: in the office| to the office| at work| at my desk| in)? (?:on |by )?" + _DATE,
        r"\b(?:out|away|office)\b[^.!?]{0,40}, ?(?:i (?:will|'ll) be )?back (?:on |again )?" + _DATE,
    )),
    (2, (  # mail is not read meanwhile
        r"\b(?:no|limited|little|restricted|intermittent|sporadic|occasional|without)(?: or no)? (?:(?:e-?)?mail access|access to (?:my |the )?(?:work )?(?:e-?mails?|mails?|inbox|messages|mailbox))",
        r"\bcheck(?:ing)? (?:my )?(?:e-?mails?|mails?|inbox|messages) (?:only|now and then|occasionally|infrequently|rarely|sporadically|from time to time|once|less)",
        r"\b(?:my|this) (?:inbox|mailbox|e-?mail|mail) (?:is|will)(?: not|n't) (?:be(?:ing)? )?(?:read|monitored|checked|looked at|forwarded|answered)",
        r"\byour (?:e-?mail|message|mail) will not be (?:forwarded|read|answered|redirected)|\bis waiting (?:patiently )?for me\b",
        r"\b(?:expect (?:slow|delayed|late|a (?:slow|delayed|late)|(?:some |a )?delays?)|(?:reply|replies|response|responses|answers?) (?:may|might|will|could) (?:be|take)(?: a (?:bit|little))? (?:delayed|slow|late|longer)|(?:slow|slower|delayed)(?: than usual)? (?:to|in) (?:respond|reply|answer))",
    )),
    (2, (  # whom to ask instead
        r"\b(?:for|in|if|with|should)\b[^.!?]{0,40}\b(?:urgent|urgently|emergenc|immediate|pressing|cannot wait|can't wait)[^.!?]{0,60}\b(?:contact|call|write|e-?mail|mail|ring|dial|reach|turn to|phone|speak|text)\b",
        r"\bplease (?:contact|write to|e-?mail|call|reach(?: out to)?|turn to|speak to|direct|address|forward|send|use)[^.!?]{0,50}\b(?:my (?:colleague|deputy|assistant|team)|(?:general|main|central|office|sales|team|shared|support|info) (?:address|number|mailbox|inbox|line)|in the meantime|instead)\b",
        r"\bplease (?:contact|call|ring|write to|e-?mail|phone)[^.!?]{0,50}\b(?:with|for|about|in) (?:anything|any|an|something|all)? ?(?:urgent|emergenc)",
        r"\bplease (?:write|send)[^.!?]{0,60}\binstead\b",
        r"\bmy (?:colleagues?|deputy|stand-?in|assistant|team|replacement)\b[^.!?]{0,30}\b(?:will|have|has|are happy|is happy|can|as usual|(?:is|are) (?:covering|filling|taking))\b|\bwith my (?:deputy|stand-?in|assistant)\b",
    )),
    (1, (
        r"\bthank(?:s| you)(?: (?:very much|so much|again|kindly))? for (?:your (?:recent )?(?:" + _MAIL + r"|interest|patience|order|feedback|application|enrolment)|contacting|getting in touch|reaching out|writing to|submitting|your e-)",
    )),
    (3, (  # a request was received, in the receiver's voice
        r"\bwe(?:'ve| have)? (?:successfully |safely )?(?:received|got|logged|registered|recorded) your (?:" + _MAIL + r"|order|application|form|feedback|complaint|support|recent|e-)",
        r"\byour (?:support |recent )?(?:" + _MAIL + r"|case|order|application|complaint|feedback|query)(?: [(#]?[\w\-#]*\d[\w\-]*\)?)? (?:has been|have been|was|is) (?:now |successfully |safely |automatically |being )*(?:received|logged|registered|created|opened|queued|recorded|processed|closed|resolved|assigned|forwarded to|placed in|added to (?:our|the) queue)",
        r"\b(?:ticket|case|request|enquiry)(?: (?:no\.?|number|id))? ?[#(]?[\w\-]*\d{2,}\)? (?:has been|was) (?:automatically )?(?:created|opened|closed|resolved|received|merged|assigned)",
    )),
    (2, (  # what happens next
        r"\b(?:we|i|our (?:(?:support|service|customer) )*(?:team|staff|agents?|colleagues|specialists)|someone|(?:a member|one) of (?:our|my|the) [^.!?]{1,40}|an? (?:agent|colleague|member|specialist|representative))(?: of our [a-z ]{1,20})? ?(?:will|'ll|shall|aims? to|tr(?:y|ies) to|usually)[^.!?]{0,30}\b(?:get back to you|be in touch|reply|respond|answer|contact you|look into|review your|come back to you)",
        r"\band will (?:get back to you|be in touch|reply|respond|answer)\b|\b(?:is|are) being (?:reviewed|looked at|processed|handled) by (?:our|a member|the)",
        r"\b(?:on|by) (?:my|the|our) next (?:working|business) day\b|\b(?:you (?:do not|don't)|no) need to (?:do anything|reply|respond|answer)\b|\bno (?:further )?action is (?:required|needed)\b",
        r"\byou(?:'ll| will| can expect to| should) (?:soon |shortly )?(?:hear (?:back )?from us|receive (?:a|an|our) (?:reply|answer|response))",
        r"\b(?:answer|reply to|respond to|process|handle)[^.!?]{0,30} in the order (?:they|in which|of)",
    )),
    (1, (
        r"\b(?:with)?in (?:\w+ (?:to \w+ )?|\d+-?\d* ?)(?:working|business) (?:days?|hours?)\b|\bwithin (?:\w+ )?(?:\d+ )?(?:hours|days)\b|\b(?:waiting|response|reply) times?\b",
        r"\b(?:ticket|case|reference|request|enquiry)(?: (?:no|number|id|code))?\.?:? ?(?:is )?#?[a-z]{0,5}-?\d{3,}",
        r"\bkeep (?:the|this) (?:subject|reference|ticket)|\bdo not change the subject|\bkeep this number\b|\bfor further correspondence\b|\bin the subject line\b|\breply above this line|\bis important to us\b",
    )),
    (4, (  # not to be answered
        r"\b(?:do not|don't|not to|cannot|can't) (?:reply|respond|answer)(?: directly)? (?:to )?this (?:automated |automatic )?(?:e-?mail|message|mail|notification|address|notice|sender)",
        r"\b(?:this|the) (?:sender'?s? )?" + _BOX + r" (?:is|will be|was|has been) (?:not (?:being )?(?:monitored|read|attended|staffed|checked)|unmonitored|unattended|no longer (?:monitored|in use|read|checked|active|valid)|for outgoing)",
        r"\bthis (?:mailbox|e-?mail address|address|inbox|e-?mail account) (?:will be|is|has been|was) (?:switched off|deactivated|closed|shut down|disabled)",
        r"\b(?:sent|comes) from an? (?:address|mailbox|account)[^.!?]{0,20} (?:cannot|can't|does not|doesn't|is not|isn't) (?:receive|accept|read|monitored|able)",
        r"\bthis (?:account|mailbox|address|inbox) is (?:only )?(?:used )?(?:only )?for (?:sending|outgoing|notifications)|\b(?:messages|e-?mails?|mails?) (?:sent )?to (?:it|this (?:address|mailbox|account)) (?:are|will|cannot|is)(?: not)? (?:be )?(?:read|answered|deleted|not)\b|\bsent from an? (?:unmonitored|notification-only|unattended|no-?reply|outgoing|send-only)",
        r"\b(?:answers?|replies|responses)(?: sent)?(?: to (?:it|this)(?: \S+)?)? (?:are|will be|cannot|can't|will not|won't|go)(?: not)?(?: be)? (?:discarded|ignored|deleted|read|answered|unread|delivered|monitored|unanswered|processed)",
    )),
    (4, (  # opens with the header of a bounce
        _START + r"(?:undeliver(?:able|ed)(?: mail| message| e-?mail)?\b ?(?:[:\-]|returned)|delivery (?:status )?notification|mail delivery (?:failed|failure|sub-?system|system)|mailer-daemon|returned mail|failure notice|delivery (?:has )?(?:failed|failure)(?: notification)? ?[:\-(]|delivery (?:has )?failed to these|message blocked\b|(?:warning|notice)?\W*(?:message|mail|delivery)(?: is| has been)? (?:delayed|still undelivered)\b|message (?:not delivered|undeliverable|delivery) ?[:\-(]|non-?delivery (?:report|notification|receipt)|address not found ?[:\-.]? your)",
        r"\b(?:final-recipient|original-recipient|diagnostic-code|reporting-mta|remote-mta|x-failed-recipients) ?:|\baction: (?:failed|delayed)",
        r"\bthis is the (?:mail (?:system|delivery)|postfix|qmail)",
    )),
    (2, (
        r"\b(?:could not|couldn't|cannot|can't|can not|unable to|was not|wasn't|not)(?: be)? (?:be )?(?:deliver|delivered|sent)(?: (?:your|the|this) (?:message|mail|e-?mail))? to (?:one or more|the following|all|some|any|these|its|the recipients?|\S+@)",
        r"\b(?:your|the following) (?:message|e-?mail|mail)(?: to \S+)? (?:could not|couldn't|cannot|can't|was not|wasn't|has not been|hasn't been|is undeliverable|(?:has been|was) (?:blocked|rejected|returned))",
        r"\bmessage (?:still )?(?:is )?(?:undelivered|undeliverable)\b|\bthe message you sent (?:to|could|was|has)",
    )),
    (2, (
        r"\bno further attempts will be|\b(?:will|server will) (?:keep trying|retry|continue to try)|\bneed to resend|\btry(?:ing)? (?:resending|to resend)|\b(?:i(?:'m| am|'ve| have))? ?giv(?:en|ing) up\b[^.!?]{0,20}(?:deliver|sorry)|\bpermanent (?:fatal )?error|\b(?:i am |i'm )?giving up\.|\b(?:user|mailbox|recipient)s? (?:does not|doesn't) (?:have an account|exist)|\buser unknown|\bunknown user|\bdelivery (?:attempts|to the following)|\bwe will (?:continue to|keep) try",
    )),
    (2, (r"\b[45]\d\d[ \-]#?[45]\.\d{1,3}\.\d{1,3}\b|\b(?:smtp|remote server|host \S+) (?:error|said|returned)",)),
    (2, (
        r"\b(?:recipient|user)(?:'s|s)? (?:mailbox|inbox|account|e-?mail account|address)\b[^.!?]{0,40}\b(?:full|quota|exceeded|unavailable|not found|doesn't exist|does not exist|unknown|rejected)",
        r"\b(?:mailbox|e-?mail account|inbox)\b[^.!?]{0,50}\b(?:over (?:its )?quota|exceeded (?:its|the)|storage limit)|\baccount that you tried to reach",
    )),
    (4, (  # read receipts
        r"\byour (?:message|e-?mail|mail)\b[^!?]{0,120}\bwas (?:read|displayed|opened|deleted without being read) (?:on|at)\b",
        r"\bthis is a (?:read|return|delivery) receipt\b|" + _START + r"(?:read|return receipt|read receipt|gelesen|lu|leído) ?: ",
    )),
    (2, (r"\byour (?:message|e-?mail|mail) (?:is|has been) (?:being )?(?:held|quarantined|placed on hold|waiting for (?:approval|confirmation))",)),
    (2, (r"\b(?:prove|verify|confirm)(?: that)? you(?:'re| are) (?:a )?(?:human|real|not an? )|\binbox (?:requires|is protected)",)),
    (2, (r"\bwe(?:'ve| have)? ?(?:not|n't|never) (?:heard(?: back)? from you|received (?:a|any|your) (?:reply|response|answer))",)),
    (2, (r"\b(?:reply|respond|answer|write)\b[^.!?]{0,50}\bto re-?open\b|\bto re-?open (?:it|this|the|your) (?:ticket|case|request)",)),
    (2, (
        r"\byour (?:message|e-?mail|mail) (?:has )?(?:reached|arrived|came in)[^.!?]{0,20} outside", _MAIL + r" will be (?:dealt with|answered|read|processed|handled|replied to)\b|\bwill reopen on\b",
        _MAIL + r" (?:received|sent|arriving|that (?:arrive|reach us)|submitted)\b[^.!?]{0,50}\b(?:will|shall) be (?:dealt|answered|read|processed|handled|replied|reviewed|attended|looked)",
    )),
    (4, (  # German
        r"\bdies(?:e nachricht|e mail|e e-?mail|e antwort)? (?:ist|wurde|wird) (?:eine )?automatisch|\bautomatisch (?:generierte|erstellte|erzeugte|versandte|versendete) (?:nachricht|antwort|e-?mail|mail)",
        _START + r"(?:automatische (?:antwort|eingangsbestätigung|nachricht|rückantwort|e-?mail)|abwesenheits(?:notiz|nachricht|meldung|assistent)|eingangsbestätigung|unzustellbar|nicht zustellbar|empfangsbestätigung)\b",
        r"\b(?:antworten sie (?:bitte )?nicht|nicht) auf diese (?:automatische |automatisch \w+ )?(?:e-?mail|mail|nachricht)(?: zu)?(?: antworten| reagieren)?\b|\bdieses postfach wird nicht|\b(?:konnte|kann) (?:nicht|den folgenden empfängern nicht) zugestellt werden",
    )),
    (2, (
        r"\bich bin (?:derzeit |zurzeit |zur zeit |momentan |aktuell |leider |ab |vom |am |bis |heute |wieder )*[^.!?]{0,40}\b(?:nicht (?:im (?:büro|haus|dienst)|erreichbar|am platz)|im urlaub|in elternzeit|abwesend|außer haus|auf dienstreise|krank|unterwegs)|\bnicht mehr (?:bei|im unternehmen|für) ",
        r"\b(?:unser büro|unsere (?:praxis|werkstatt|firma)|wir) (?:ist|sind|bleibt|haben)[^.!?]{0,40}\b(?:geschlossen|betriebsferien|betriebsurlaub)",
    )),
    (2, (
        r"\bvom \d{1,2}\. (?:\w+ )?bis\b|\b(?:wieder|zurück)(?: für sie)?[^.!?]{0,20}\b(?:erreichbar|da|im büro|im haus)\b|\bnach meiner rückkehr|\b(?:ab|bis)(?: zum| einschließlich)? (?:dem )?\d{1,2}\.",
    )),
    (2, (
        r"\bin dringenden (?:fällen|angelegenheiten)|\bmeine (?:kollegin|kollegen|vertretung)|\bmein kollege\b|\b(?:e-?mails?|nachricht(?:en)?) (?:wird|werden) nicht (?:weitergeleitet|gelesen)|\b(?:keinen|eingeschränkten) zugriff auf (?:meine )?(?:e-?mail|mail|nachricht)",
    )),
    (2, (
        r"\bwir haben (?:ihre?n?) (?:anfrage|nachricht|e-?mail|mail|anliegen|ticket|bestellung)[^.!?]{0,20}\b(?:erhalten|bekommen)|\bihre? (?:anfrage|nachricht|e-?mail|ticket|anliegen)\b[^.!?]{0,40}\b(?:ist (?:bei uns )?eingegangen|wurde (?:unter|mit|registriert|aufgenommen|erfasst)|haben wir erhalten)|\beingang ihrer (?:nachricht|anfrage|e-?mail)",
    )),
    (2, (
        r"\bwir (?:werden uns|werden ihnen|melden uns|kümmern uns|bearbeiten|antworten ihnen)\b|\bund (?:melden|kümmern) uns\b|\b(?:vielen dank|danke) für ihre (?:nachricht|anfrage|e-?mail|mail)|\bpostfach (?:des empfängers )?(?:ist )?voll\b",
    )),
    (4, (  # French
        r"\b(?:ceci est|ce message est|ce courriel est|cet e-?mail est)[^.!?]{0,30}\bautomatique|\bce (?:message|courriel|mail) a été (?:envoyé|généré) automatiquement|\b(?:merci de|veuillez) ne pas (?:y )?répondre(?: directement)?(?: à ce|[.!]| à cet)|\bne (?:pas )?répond(?:re|ez)(?: pas)? à ce(?:t)? (?:message|courriel|mail|e-?mail)",
        _START + r"(?:réponse automatique|message automatique|absence du bureau|absent(?:e)? du bureau|accusé de réception|non remis|message non distribué|échec de (?:la )?(?:remise|distribution)) ?(?:[:\-.!]|$)",
        r"\bn'a (?:pas )?pu être (?:remis|distribué|livré|délivré)|\bn'a pas pu être (?:remis|distribué|livré|délivré|acheminé)",
    )),
    (2, (
        r"\bactuellement (?:en (?:congés?|vacances|déplacement)|absente?)|\bje (?:suis|serai)(?: actuellement| absente?| en ce moment| hors)*[^.!?]{0,30}\b(?:absente?|en (?:congés?|vacances|déplacement|formation|arrêt)|du bureau|indisponible)|\b(?:notre|nos) (?:bureaux?|agence|atelier|cabinet|magasin|service)s? (?:est|sont|sera|seront) fermée?s?\b",
    )),
    (2, (r"\b(?:je|j'en) (?:prendrai connaissance|vous répondrai|traiterai|répondrai)",)),
    (2, (r"\b(?:de retour|je reviens|je reviendrai)\b|\bà mon retour\b|\bdès mon retour\b|\bjusqu'au \d|\bà partir du \d|\b\d+ inclus\b",)),
    (2, (
        r"\b(?:en cas d'urgence|pour toute (?:urgence|demande urgente|question urgente))|\bmes? collègues?\b|\baccès (?:limité|restreint) à|\bpas accès à (?:ma|mes) (?:messagerie|mails?|courriels?|e-?mails?)",
    )),
    (2, (
        r"\bnous avons bien reçu (?:votre|ta)|\bvotre (?:demande|message|ticket|courriel|e-?mail) a (?:bien )?été (?:reçue?|enregistrée?|prise? en compte|transmise?)|\bboîte (?:aux lettres |de réception |mail )?(?:du destinataire )?est pleine",
    )),
    (2, (
        r"\b(?:nous|et) (?:vous (?:répondrons|contacterons|recontacterons)|reviendrons vers vous|traiterons)|\b(?:sous|dans (?:un délai de|les)) \d+ (?:heures|jours|h)\b|\b(?:merci|nous vous remercions) (?:de|pour) (?:nous avoir contacté|votre (?:message|demande|courriel|e-?mail))",
    )),
    (4, (  # Spanish
        r"\b(?:este|esta) (?:es|mensaje (?:es|ha sido|fue)|correo (?:es|ha sido|fue))[^.!?]{0,30}\bautomátic|\b(?:por favor,? )?no (?:responda|conteste|respondas|contestes)[^.!?]{0,15} a este (?:correo|mensaje|e-?mail)",
        _START + r"(?:respuesta automática|mensaje automático|fuera de (?:la )?oficina|acuse de recibo|no entregado|no se puede entregar|correo no entregado) ?(?:[:\-.!]|$)",
        r"\bno (?:se )?(?:pudo|ha podido|se ha podido) (?:ser )?entrega(?:r|do)",
    )),
    (2, (
        r"\b(?:estoy|estaré|me encuentro|me encontraré)(?: actualmente| ahora)?[^.!?]{0,20}\b(?:fuera de (?:la )?oficina|de vacaciones|ausente|de baja|de viaje|de permiso)|\b(?:nuestra oficina|nuestras oficinas|la oficina) (?:está|estará|estarán|permanecerá)n? cerrad",
    )),
    (2, (r"\b(?:a|hasta|tras) mi (?:regreso|vuelta)\b|\b(?:regresaré|volveré|vuelvo|estaré de vuelta)\b|\bhasta el (?:día |próximo )?(?:\d|lunes|martes|miércoles|jueves|viernes)",)),
    (2, (
        r"\b(?:en caso de urgencia|para (?:asuntos|temas|cuestiones) urgentes|si es urgente|para cualquier urgencia)|\bmis? compañer[oa]s?\b|\bacceso limitado a(?:l| mi)",
    )),
    (2, (
        r"\b(?:hemos|hemos) (?:recibido|registrado) (?:correctamente )?(?:su|tu) (?:mensaje|solicitud|consulta|correo|petición)|\b(?:su|tu) (?:mensaje|solicitud|consulta|ticket|correo|petición) (?:ha sido|fue) (?:recibid|registrad|enviad)|\bbuzón (?:del destinatario )?(?:está )?lleno",
    )),
    (2, (
        r"\b(?:le|te|nos) (?:responderemos|contestaremos|contactaremos|pondremos en contacto)|\ben (?:un plazo de|las próximas) \d+|\bgracias por (?:su (?:mensaje|correo|consulta|solicitud)|(?:contactar|ponerse en contacto|escribirnos|contactarnos))",
    )),
)  # fmt: skip
"""Signs that a machine wrote it."""

AGAINST: tuple[tuple[int, tuple[str, ...]], ...] = (
    (-2, (  # wishes
        r"\b(?:could|can|would) (?:you|we|i|it|there)\b|\b(?:i|we)(?:'d| would) (?:like|love|want|prefer) (?:to (?:set|have|be|see|choose|use|edit|change)|if|an?|it|that)\b|\bi(?:'d| would) (?:like|love)\b|\bplease (?:add|fix|make|let|allow|change|offer|repair|stop|remove|look)\b|\bi wish\b|\bwould be (?:nice|great|good|grand|helpful|lovely|useful|handy)\b|\bshould (?:be able|also|have|let|come with|not)\b|\bi (?:want|need)\b|\bcan(?:'t|not) (?:i|we)\b",
        r"\bkönn(?:t|te|ten)(?:en)? (?:ihr|sie|man|wir)\b|\bwäre (?:schön|toll|super|gut)|\bich (?:wünsche|hätte gern|möchte gern)|\bpourriez-vous ajouter|\bj'aimerais\b|\bserait (?:bien|pratique|génial)|\bme gustaría|\bpodrían (?:añadir|agregar)",
    )),
    (-2, (  # faults
        r"\b(?:does|do|did|is|are|was)(?:n't| not) (?:work|stop|show|send|go|get|arrive|sav|fir|trigger|respect)|\b(?:bug|broken|crash\w*|wrong|glitch|fault|typo|twice|annoying|useless|frustrating|ignores)\b|\bstill (?:says|shows|sends|goes|gets?|on|does|tells)\b|\bsince (?:the|your|last|yesterday|this) (?:last |latest |new )?(?:update|release|version|week|upgrade)|\b(?:is|are) missing\b|\bissue:|\binstead of\b|\b(?:although|even though)\b|\bkeeps? (?:sending|showing|telling|coming|going|getting|saying)\b|\bstopped (?:working|sending)|\bfor no reason\b",
        r"\bfunktioniert (?:nicht|nicht mehr)|\bseit dem (?:letzten )?update|\bne (?:marche|fonctionne) (?:pas|plus)|\bno funciona\b",
    )),
    (-2, (  # a product, and the writer's own customers
        r"\b(?:your|this) (?:app|software|update|feature|setting|tool|product|program|programme|widget|template|settings|editor)\b|\b(?:the app|in settings|feature request)\b|\b(?:my|our) (?:clients?|customers?|students|patients|guests|subscribers|users)\b|\b(?:auto-?(?:matic |matic-)?(?:reply|response|responder)|autoresponder|out[- ]of[- ]office|vacation|away|no-?reply)(?: (?:message|reply|note|text|mode|notice|mail|e-?mail|line))? (?:feature|setting|that|which|is|was|does|goes|went|says|should|could|editor|option|template|keeps|gets|function|per|for each)\b",
    )),
    (-2, (r"\b(?:i|we) (?:really )?(?:love|like|enjoy|hate)\b|^love\b|\b(?:brilliant|fantastic|awesome|superb|excellent|magic|works (?:great|well|perfectly)|lifesaver|time saver)\b",)),
)  # fmt: skip
"""Signs that a person writes about them."""

TASK = (
    r"^(?:please |kindly |can you |could you |help me )?(?:write|draft|compose|create|generate|translate|summari[sz]e|rewrite|re-write|classify|rephrase|paraphrase|edit|explain|describe|identify|extract|suggest|convert|correct|proofread|categori[sz]e|label|determine|decide|design|develop|produce|prepare|formulate|analy[sz]e|improve|shorten|turn|transform|given (?:the|this|an?)|imagine|pretend|you are (?:given|an?|the)|how (?:do|can|to|would|should)|what (?:is|does|should|are)|is (?:the|this)|task|instruction|read the)\b|"
    r"^(?:schreib|verfass|formulier|übersetz|rédige|écri[st]|tradui|escrib|redact|traduc)"
)
"""How a task opens that asks for, or about, such a text: never an automatic reply itself."""

CUES: tuple[str, ...] = (
    "auto", "office", "reply", "replies", "away", "leave", "vacation", "holiday", "travel", "return", "closed", "shut", "urgent",
    "address", "no longer", "back to you", " sick", "access to", "i am out", "i'm out",
    "inbox", "mailbox", "mail", "message", "received", "ticket", "request", "enquir", "inquir",
    "deliver", "recipient", "bounce", "respon", "unavailable", "colleague", "receipt", "reopen",
    "re-open", "abwesen", "urlaub", "büro", "nachricht", "anfrage", "eingang", "postfach", "zustell", "zugestellt",
    "praxis", "erreichbar", "absent", "congé", "vacances", "réponse", "retour", "courriel", "reçu", "remis", "distribu",
    "bureau", "oficina", "vacaciones", "ausente", "correo", "mensaje", "recibido", "entrega", "respuesta", "buzón",
    "unattended",
)  # fmt: skip
"""Words one of which every automatic reply holds; texts without any are not read."""
