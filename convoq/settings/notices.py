"""The sentences for a person who gets no answer, or wants no more of them: built in and given, by language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from convoq.prose import sendable
from convoq.settings.people import NoticeSettings

LONGEST_SENTENCE: Final = 1000  #: characters: one message on every channel

DELAYED: Final = {
    "en": "One moment, please: the answer takes longer than usual. You will get it as soon as possible.",
    "es": "Un momento, por favor: la respuesta tarda más de lo normal. La recibirás lo antes posible.",
    "pt": "Um momento, por favor: a resposta está a demorar mais do que o normal. Vai recebê-la assim que possível.",
    "de": "Einen Moment bitte: Die Antwort dauert länger als sonst. Sie kommt, sobald es geht.",
    "fr": "Un instant, s'il vous plaît : la réponse prend plus de temps que d'habitude. Elle arrive dès que possible.",
}
REFUSED: Final = {
    "en": "Sorry, I cannot help with that. For anything else just write to me.",
    "es": "Lo siento, con eso no puedo ayudarte. Para cualquier otra cosa, escríbeme.",
    "pt": "Lamento, nisso não posso ajudar. Para qualquer outra coisa, é só escrever.",
    "de": "Dabei kann ich leider nicht helfen. Bei allem anderen gern.",
    "fr": "Désolé, je ne peux pas vous aider sur ce point. Pour toute autre chose, écrivez-moi.",
}
FAILED: Final = {
    "en": "Sorry, I cannot answer your message. Please write it in other words, or contact our team directly.",
    "es": "Lo siento, no puedo responder a tu mensaje. Escríbelo con otras palabras o contacta con nuestro equipo.",
    "pt": "Lamento, não consigo responder à sua mensagem. Escreva-a por outras palavras ou contacte a nossa equipa.",
    "de": "Leider kann ich die Nachricht nicht beantworten. Bitte formulieren Sie sie anders oder wenden Sie sich an "
    "unser Team.",
    "fr": "Désolé, je ne peux pas répondre à votre message. Reformulez-le ou contactez directement notre équipe.",
}


OPTED_OUT: Final = {
    "en": "You will get no more messages from us. Write START if you want to hear from us again.",
    "es": "No recibirás más mensajes nuestros. Escribe START si quieres volver a recibirlos.",
    "pt": "Não vai receber mais mensagens nossas. Escreva START se quiser voltar a recebê-las.",
    "de": "Von uns kommen keine Nachrichten mehr. Mit START erhalten Sie wieder welche.",
    "fr": "Vous ne recevrez plus de messages de notre part. Écrivez START pour en recevoir à nouveau.",
}

HANDED_OVER: Final = {
    "en": "I am passing this on to a colleague, who will answer you here.",
    "es": "Se lo paso a una persona de nuestro equipo, que te responderá por aquí.",
    "pt": "Vou passar a conversa a uma pessoa da nossa equipa, que responde por aqui.",
    "de": "Ich gebe das an jemanden aus unserem Team weiter. Die Antwort kommt hier.",
    "fr": "Je transmets votre demande à une personne de notre équipe, qui vous répondra ici.",
}
UNABLE: Final = {
    "en": "I cannot answer this myself. Somebody from our team will look into it and answer you here.",
    "es": "No puedo responder a esto. Una persona de nuestro equipo lo mirará y te responderá por aquí.",
    "pt": "Não consigo responder a isto. Uma pessoa da nossa equipa vai ver e responde por aqui.",
    "de": "Das kann ich nicht selbst beantworten. Jemand aus unserem Team sieht es sich an und antwortet hier.",
    "fr": "Je ne peux pas répondre moi-même. Une personne de notre équipe va regarder et vous répondra ici.",
}
PAUSED: Final = {
    "en": "Thank you for your message. Somebody from our team will answer you here.",
    "es": "Gracias por tu mensaje. Una persona de nuestro equipo te responderá por aquí.",
    "pt": "Obrigado pela mensagem. Uma pessoa da nossa equipa responde por aqui.",
    "de": "Danke für die Nachricht. Jemand aus unserem Team antwortet hier.",
    "fr": "Merci pour votre message. Une personne de notre équipe vous répondra ici.",
}
NOBODY_FREE: Final = {
    "en": "Nobody is free just now. Your message is with us, and we will answer as soon as we can.",
    "es": "Ahora mismo no hay nadie libre. Tenemos tu mensaje y te responderemos en cuanto podamos.",
    "pt": "De momento ninguém está livre. Temos a sua mensagem e respondemos assim que possível.",
    "de": "Gerade ist niemand frei. Die Nachricht liegt bei uns, wir antworten so bald wie möglich.",
    "fr": "Personne n'est disponible pour l'instant. Nous avons votre message et répondrons dès que possible.",
}

AI_DISCLOSURE: Final = {
    "en": "You are chatting with an AI assistant.",
    "es": "Estás hablando con un asistente de inteligencia artificial.",
    "pt": "Está a falar com um assistente de inteligência artificial.",
    "de": "Hier antwortet ein KI-Assistent.",
    "fr": "Vous échangez avec un assistant d'intelligence artificielle.",
}

BUDGET: Final = {
    "en": "Thank you for your message. I cannot answer just now: you will hear from us as soon as possible.",
    "es": "Gracias por tu mensaje. Ahora mismo no puedo responder: tendrás noticias nuestras lo antes posible.",
    "pt": "Obrigado pela mensagem. Agora não posso responder: terá notícias nossas assim que possível.",
    "de": "Danke für die Nachricht. Gerade kann ich nicht antworten: Wir melden uns, sobald es geht.",
    "fr": "Merci pour votre message. Je ne peux pas répondre pour l'instant : vous aurez une réponse dès que possible.",
}

CLOSED: Final = {
    "en": "We are closed just now. Your message is with us, and we will get back to you.",
    "es": "Ahora estamos cerrados. Tenemos tu mensaje y te responderemos.",
    "pt": "Neste momento estamos fechados. Temos a sua mensagem e vamos responder.",
    "de": "Wir haben gerade geschlossen. Die Nachricht liegt bei uns, wir melden uns.",
    "fr": "Nous sommes fermés pour le moment. Nous avons votre message et vous répondrons.",
}
GOODBYE: Final = {
    "en": "Thank you for your message. Goodbye!",
    "es": "Gracias por tu mensaje. ¡Hasta pronto!",
    "pt": "Obrigado pela sua mensagem. Até breve!",
    "de": "Danke für die Nachricht. Bis bald!",
    "fr": "Merci pour votre message. À bientôt !",
}

BUILT_IN: Final = {
    "delayed": DELAYED, "refused": REFUSED, "failed": FAILED, "budget": BUDGET, "opted_out": OPTED_OUT,
    "handed_over": HANDED_OVER, "unable": UNABLE, "paused": PAUSED, "nobody_free": NOBODY_FREE,
    "closed": CLOSED,
    "goodbye": GOODBYE,
    "ai_disclosure": AI_DISCLOSURE,
}  # fmt: skip


OPTIONAL: Final = ("check_in", "expired")  #: said only where it is given


def sentences(notices: NoticeSettings, reason: str) -> Mapping[str, str]:
    """What is said for that reason, by language."""
    return sendable_sentences({**BUILT_IN.get(reason, {}), **getattr(notices, reason)})


def sendable_sentences(given: Mapping[str, str]) -> Mapping[str, str]:
    return {language: sendable(text) for language, text in given.items()}
